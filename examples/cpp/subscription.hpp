#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>

#include "nodes.hpp"

namespace vault {

// A subscription that trying again does not help.
class SubscribeError : public std::runtime_error {
 public:
  explicit SubscribeError(const grpc::Status& status) : std::runtime_error(status.error_message()) {}
};

// One Subscribe call. Its end is the call's: what is under way is cancelled and waited for.
class SubscribeCall {
 public:
  SubscribeCall(messagevault::v1::VaultService::Stub& stub, const messagevault::v1::SubscribeRequest& request);
  ~SubscribeCall();
  SubscribeCall(const SubscribeCall&) = delete;
  SubscribeCall& operator=(const SubscribeCall&) = delete;

  // Waits for the next response; false where there is none: the call has ended, or is silent for too long.
  bool read(messagevault::v1::SubscribeResponse& response);
  // Waits for the call's status. Call it once `read` was false.
  grpc::Status finish();
  // Makes `read` return soon. May be called from any thread.
  void cancel() { context_.TryCancel(); }

 private:
  // Waits for what is under way: false where it failed, nothing where it took longer than `seconds`.
  std::optional<bool> wait(int seconds);

  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::ClientAsyncReader<messagevault::v1::SubscribeResponse>> reader_;
};

// Runs of records, and heartbeats, from the requested start to the requested end. Resumes by itself behind what was
// taken, for as long as it takes, and reads no faster than it is asked.
class Subscription {
 public:
  Subscription(Nodes& nodes, messagevault::v1::SubscribeRequest request);

  // Waits for the next response; nothing at the end, or once stopped. Throws SubscribeError where trying again is of
  // no use.
  std::optional<messagevault::v1::SubscribeResponse> next();
  // Ends the subscription. May be called from any thread.
  void stop();

 private:
  // Gives up on the call; the next one goes to the next node after a pause.
  void again(const std::string& reason, std::chrono::milliseconds pause);
  void resume_behind(const messagevault::v1::SubscribeResponse& response);

  Nodes& nodes_;
  messagevault::v1::SubscribeRequest request_;
  int attempt_ = 0;
  // Guards what is below: `stop` comes from another thread.
  std::mutex mutex_;
  std::condition_variable stopping_;
  bool stopped_ = false;
  std::unique_ptr<SubscribeCall> call_;
};

}  // namespace vault
