#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "nodes.hpp"

namespace vault {

// A batch that was given up.
class PublishError : public std::runtime_error {
 public:
  PublishError(const grpc::Status& status, bool maybe_stored);

  // Whether the batch may be stored all the same.
  bool maybe_stored() const { return maybe_stored_; }

 private:
  bool maybe_stored_;
};

// Publishes to one stream, a batch at a time, in order; a batch that has to be sent again is stored once. After a
// PublishError it is of no use any more: make another one.
class BatchPublisher {
 public:
  BatchPublisher(Nodes& nodes, std::string stream);

  // Publishes a batch, all or nothing; returns when it is durable. Throws PublishError.
  messagevault::v1::PublishResponse publish(std::vector<messagevault::v1::Record> records);

 private:
  Nodes& nodes_;
  std::string stream_;
  // Nobody else may use this id at the same time.
  std::string producer_id_;
  std::uint64_t sequence_ = 0;
};

}  // namespace vault
