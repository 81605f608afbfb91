#include "nodes.hpp"

#include <algorithm>
#include <random>
#include <sstream>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace vault {
namespace {

constexpr int kPauseMsFirst = 100;
constexpr int kPauseMsMax = 2000;

grpc::ChannelArguments channel_arguments() {
  grpc::ChannelArguments arguments;
  // Without pings, a connection that a firewall forgot looks like a quiet stream.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  // A subscriber sends no data; by default it would stop to ping after two pings.
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // Retries are ours: only we know which requests may be repeated.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  return arguments;
}

// After these it is not known what happened: the connection broke, or the answer was lost.
bool is_outcome_unknown(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::UNAVAILABLE:
    case grpc::StatusCode::UNKNOWN:
    case grpc::StatusCode::INTERNAL:
    case grpc::StatusCode::DEADLINE_EXCEEDED:
    case grpc::StatusCode::CANCELLED:
      return true;
    default:
      return false;
  }
}

}  // namespace

Nodes::Nodes(const std::string& addresses) {
  std::istringstream list(addresses);
  for (std::string address; std::getline(list, address, ',');) {
    auto channel = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), channel_arguments());
    stubs_.push_back(messagevault::v1::VaultService::NewStub(channel));
  }
  if (stubs_.empty()) throw std::invalid_argument("give at least one address, such as 127.0.0.1:50051");
}

std::chrono::milliseconds Failure::pause(int attempt) const {
  thread_local std::mt19937 random(std::random_device{}());
  const int limit = std::min(kPauseMsMax, kPauseMsFirst << std::min(attempt, 10));
  return delay + std::chrono::milliseconds(std::uniform_int_distribution(0, limit)(random));
}

Failure judge(const grpc::Status& status) {
  google::rpc::Status details;
  // Details that cannot be read say nothing; the code still counts.
  details.ParseFromString(status.error_details());
  google::rpc::ErrorInfo info;
  google::rpc::RetryInfo retry;
  for (const auto& detail : details.details()) {
    // Each unpacks only what is of its type.
    detail.UnpackTo(&info);
    detail.UnpackTo(&retry);
  }
  const bool ours = info.domain() == "messagevault";
  // Of gRPC itself this code says that a message is too large: then it always will be.
  const bool overloaded = status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED && ours;
  const bool unknown = is_outcome_unknown(status.error_code());
  Failure failure;
  failure.retryable = overloaded || unknown;
  failure.maybe_stored = unknown && !(ours && info.reason() == "NOT_STORED");
  failure.delay = std::chrono::seconds(retry.retry_delay().seconds()) +
                  std::chrono::milliseconds(retry.retry_delay().nanos() / 1'000'000);
  return failure;
}

}  // namespace vault
