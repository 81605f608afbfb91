#include "subscription.hpp"

#include <iostream>
#include <utility>

namespace vault {
namespace {

constexpr int kHeartbeatSeconds = 5;
// A connection that brings neither records nor heartbeats for so long is given up.
constexpr int kSilenceSecondsMax = 3 * kHeartbeatSeconds;
// A call that was cancelled ends at once; this only keeps a fault in gRPC from blocking for ever.
constexpr int kEndSecondsMax = 60;

}  // namespace

SubscribeCall::SubscribeCall(messagevault::v1::VaultService::Stub& stub,
                             const messagevault::v1::SubscribeRequest& request)
    : reader_(stub.PrepareAsyncSubscribe(&context_, request, &queue_)) {
  reader_->StartCall(this);
  // It fails where there is no connection; the next read does then, too.
  wait(kSilenceSecondsMax);
}

SubscribeCall::~SubscribeCall() {
  context_.TryCancel();
  queue_.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
  }
}

bool SubscribeCall::read(messagevault::v1::SubscribeResponse& response) {
  reader_->Read(&response, this);
  const std::optional<bool> done = wait(kSilenceSecondsMax);
  if (done.has_value()) return *done;
  // Silent: gRPC still owns the response until the read has failed.
  context_.TryCancel();
  wait(kEndSecondsMax);
  return false;
}

grpc::Status SubscribeCall::finish() {
  grpc::Status status;
  reader_->Finish(&status, this);
  wait(kEndSecondsMax);
  return status;
}

std::optional<bool> SubscribeCall::wait(int seconds) {
  void* tag = nullptr;
  bool ok = false;
  const auto deadline = std::chrono::system_clock::now() + std::chrono::seconds(seconds);
  if (queue_.AsyncNext(&tag, &ok, deadline) != grpc::CompletionQueue::GOT_EVENT) return std::nullopt;
  return ok;
}

Subscription::Subscription(Nodes& nodes, messagevault::v1::SubscribeRequest request)
    : nodes_(nodes), request_(std::move(request)) {
  request_.mutable_heartbeat_interval()->set_seconds(kHeartbeatSeconds);
}

std::optional<messagevault::v1::SubscribeResponse> Subscription::next() {
  for (;;) {
    if (call_ == nullptr) {
      auto call = std::make_unique<SubscribeCall>(nodes_.stub(), request_);
      const std::lock_guard lock(mutex_);
      call_ = std::move(call);
    }
    if (const std::lock_guard lock(mutex_); stopped_) return std::nullopt;
    messagevault::v1::SubscribeResponse response;
    if (call_->read(response)) {
      attempt_ = 0;
      resume_behind(response);
      return response;
    }
    const grpc::Status status = call_->finish();
    if (status.ok()) return std::nullopt;
    if (const std::lock_guard lock(mutex_); stopped_) return std::nullopt;
    const Failure failure = judge(status);
    if (!failure.retryable) throw SubscribeError(status);
    again(status.error_message(), failure.pause(attempt_));
  }
}

void Subscription::again(const std::string& reason, std::chrono::milliseconds pause) {
  std::cerr << "subscribing again: " << reason << std::endl;
  attempt_++;
  nodes_.move_on();
  std::unique_lock lock(mutex_);
  call_.reset();
  stopping_.wait_for(lock, pause, [this] { return stopped_; });
}

void Subscription::resume_behind(const messagevault::v1::SubscribeResponse& response) {
  request_.set_offset(response.next_offset());
  // Were the stream deleted and made anew, its offsets would mean other records.
  if (!response.incarnation().empty()) request_.set_incarnation(response.incarnation());
  // The tail as it stood at first, not as it will stand then.
  if (request_.has_until_tail()) request_.set_until_offset(response.tail_offset());
}

void Subscription::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  stopping_.notify_all();
  if (call_ != nullptr) call_->cancel();
}

}  // namespace vault
