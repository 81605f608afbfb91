// publisher ADDRESSES STREAM publishes the records on standard input, one a line in protobuf's JSON form. It prints a
// PublishResponse, in that form too, for each batch that is stored. ADDRESSES is host:port, or several with commas.
#include <google/protobuf/util/json_util.h>

#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "batch_publisher.hpp"

namespace {

using messagevault::v1::Record;

// A batch is closed at either; with the record that goes over it must stay below the vault's 4 MiB.
constexpr std::size_t kBatchRecordsMax = 1000;
constexpr std::size_t kBatchBytesMax = 256 * 1024;

// Records on their way from the thread that reads to the one that publishes. Bounded, so that reading waits.
class Queue {
 public:
  void push(Record record) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return records_.size() < kBatchRecordsMax; });
    records_.push_back(std::move(record));
    changed_.notify_all();
  }

  void end() {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }

  // What has come while the batch before was on its way; waits for one record. Empty at the end.
  std::vector<Record> take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ended_ || !records_.empty(); });
    std::vector<Record> batch;
    for (std::size_t size = 0; !records_.empty() && size < kBatchBytesMax;) {
      size += records_.front().ByteSizeLong();
      batch.push_back(std::move(records_.front()));
      records_.pop_front();
    }
    changed_.notify_all();
    return batch;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Record> records_;
  bool ended_ = false;
};

void read_records(Queue& queue) {
  for (std::string line; std::getline(std::cin, line);) {
    Record record;
    const auto parsed = google::protobuf::util::JsonStringToMessage(line, &record);
    if (!parsed.ok()) {
      std::cerr << "no record: " << parsed.ToString() << std::endl;
      std::_Exit(EXIT_FAILURE);
    }
    queue.push(std::move(record));
  }
  queue.end();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: publisher ADDRESSES STREAM" << std::endl;
    return EXIT_FAILURE;
  }
  // It may be waiting for standard input as the program ends, so it shares nothing that goes away.
  static Queue queue;
  std::thread(read_records, std::ref(queue)).detach();
  try {
    vault::Nodes nodes(argv[1]);
    vault::BatchPublisher publisher(nodes, argv[2]);
    for (auto batch = queue.take(); !batch.empty(); batch = queue.take()) {
      std::string line;
      const auto response = publisher.publish(std::move(batch));
      if (!google::protobuf::util::MessageToJsonString(response, &line).ok()) return EXIT_FAILURE;
      std::cout << line << std::endl;
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << std::endl;
    std::_Exit(EXIT_FAILURE);
  }
  return EXIT_SUCCESS;
}
