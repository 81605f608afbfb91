#include "batch_publisher.hpp"

#include <iostream>
#include <random>
#include <thread>
#include <utility>

namespace vault {
namespace {

using std::chrono::system_clock;

constexpr std::chrono::seconds kAttemptMax{10};
constexpr std::chrono::seconds kPublishMax{60};

std::string random_id() {
  std::random_device random;
  std::string id;
  for (int i = 0; i < 4; i++) id += std::to_string(random()) + (i < 3 ? "-" : "");
  return id;
}

}  // namespace

PublishError::PublishError(const grpc::Status& status, bool maybe_stored)
    : std::runtime_error("the batch " + std::string(maybe_stored ? "may or may not be" : "was not") +
                         " stored: " + status.error_message()),
      maybe_stored_(maybe_stored) {}

BatchPublisher::BatchPublisher(Nodes& nodes, std::string stream)
    : nodes_(nodes), stream_(std::move(stream)), producer_id_(random_id()) {}

messagevault::v1::PublishResponse BatchPublisher::publish(std::vector<messagevault::v1::Record> records) {
  messagevault::v1::PublishRequest request;
  request.set_stream(stream_);
  for (auto& record : records) *request.add_records() = std::move(record);
  // By these the vault knows a batch that it has stored already.
  request.mutable_producer()->set_id(producer_id_);
  request.mutable_producer()->set_sequence(sequence_);
  const auto give_up_at = system_clock::now() + kPublishMax;
  bool maybe_stored = false;
  for (int attempt = 0;; attempt++) {
    grpc::ClientContext context;
    context.set_deadline(system_clock::now() + kAttemptMax);
    messagevault::v1::PublishResponse response;
    const grpc::Status status = nodes_.stub().Publish(&context, request, &response);
    if (status.ok()) {
      sequence_++;
      return response;
    }
    const Failure failure = judge(status);
    maybe_stored = maybe_stored || failure.maybe_stored;
    const auto pause = failure.pause(attempt);
    if (!failure.retryable || system_clock::now() + pause > give_up_at) throw PublishError(status, maybe_stored);
    std::cerr << "publishing again: " << status.error_message() << std::endl;
    nodes_.move_on();
    std::this_thread::sleep_for(pause);
  }
}

}  // namespace vault
