// A vault's nodes, and what its errors mean. Copy this file as it is.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "messagevault/v1/vault.grpc.pb.h"

namespace vault {

// The nodes of one vault, by address. Calls go to one of them until a call fails, then to the next.
class Nodes {
 public:
  // Connections to `addresses` (host:port, or several with commas) are made as they are needed.
  explicit Nodes(const std::string& addresses);

  // For calls to the node in use.
  messagevault::v1::VaultService::Stub& stub() { return *stubs_[current_]; }

  // Takes the next node.
  void move_on() { current_ = (current_ + 1) % stubs_.size(); }

 private:
  std::vector<std::unique_ptr<messagevault::v1::VaultService::Stub>> stubs_;
  std::size_t current_ = 0;
};

// What a failed call means.
struct Failure {
  // Whether the same request may succeed later.
  bool retryable = false;
  // Whether the request may have been carried out all the same.
  bool maybe_stored = false;
  // How long the vault asks to wait; 0 where it says nothing.
  std::chrono::milliseconds delay{0};

  // How long to wait before the next attempt: longer each time, and never the same for all clients.
  std::chrono::milliseconds pause(int attempt) const;
};

// Tells what a failed call means, by its status code, ErrorInfo and RetryInfo.
Failure judge(const grpc::Status& status);

}  // namespace vault
