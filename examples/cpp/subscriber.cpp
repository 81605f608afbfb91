// subscriber ADDRESSES STREAM FROM [UNTIL] prints the records of a stream, one a line in protobuf's JSON form.
// ADDRESSES is host:port, or several with commas. FROM is earliest, latest or an offset. UNTIL is tail or an offset;
// without it the stream is followed until Ctrl-C. At the end it says where to go on.
#include <google/protobuf/util/json_util.h>

#include <csignal>
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>

#include "subscription.hpp"

namespace {

messagevault::v1::SubscribeRequest parse_request(int argc, char** argv) {
  messagevault::v1::SubscribeRequest request;
  request.set_stream(argv[2]);
  const std::string from = argv[3];
  if (from == "earliest") {
    request.mutable_earliest();
  } else if (from == "latest") {
    request.mutable_latest();
  } else {
    request.set_offset(std::stoull(from));
  }
  const std::string until = argc > 4 ? argv[4] : "";
  if (until == "tail") {
    request.mutable_until_tail();
  } else if (!until.empty()) {
    request.set_until_offset(std::stoull(until));
  }
  return request;
}

// Has Ctrl-C end the subscription in order, until it goes out of scope.
class StopOnSignal {
 public:
  explicit StopOnSignal(vault::Subscription& subscription)
      : thread_([this, &subscription] {
          int received = 0;
          sigwait(&signals(), &received);
          subscription.stop();
        }) {}

  ~StopOnSignal() {
    pthread_kill(thread_.native_handle(), SIGTERM);
    thread_.join();
  }

  StopOnSignal(const StopOnSignal&) = delete;
  StopOnSignal& operator=(const StopOnSignal&) = delete;

  // Call it before any thread is started: all of them must leave these signals to the one that waits for them.
  static void block() { pthread_sigmask(SIG_BLOCK, &signals(), nullptr); }

 private:
  static const sigset_t& signals() {
    static const sigset_t set = [] {
      sigset_t signals;
      sigemptyset(&signals);
      sigaddset(&signals, SIGINT);
      sigaddset(&signals, SIGTERM);
      return signals;
    }();
    return set;
  }

  std::thread thread_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4 && argc != 5) {
    std::cerr << "usage: subscriber ADDRESSES STREAM FROM [UNTIL]" << std::endl;
    return EXIT_FAILURE;
  }
  StopOnSignal::block();
  std::string next_offset = argv[3];
  int code = EXIT_SUCCESS;
  try {
    vault::Nodes nodes(argv[1]);
    vault::Subscription subscription(nodes, parse_request(argc, argv));
    const StopOnSignal stop(subscription);
    while (const auto response = subscription.next()) {
      for (const auto& record : response->records()) {
        std::string line;
        if (!google::protobuf::util::MessageToJsonString(record, &line).ok()) throw std::runtime_error("no JSON");
        std::cout << line << '\n';
      }
      std::cout.flush();
      // A real subscriber stores this together with what it made of the records.
      next_offset = std::to_string(response->next_offset());
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << std::endl;
    code = EXIT_FAILURE;
  }
  std::cerr << "next offset: " << next_offset << std::endl;
  return code;
}
