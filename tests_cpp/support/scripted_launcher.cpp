// A launcher without Python, for tests: its workers do what the text of each call says.
//
//   echo TEXT      answers TEXT               buffers        answers its buffers, bytes reversed
//   pid            answers its pid            visible        answers CUDA_VISIBLE_DEVICES
//   raise TEXT     answers TEXT as raised     print TEXT     writes a line to stdout, answers ""
//   exit N · kill N   ends so, in the body    die-unpickling ends before the body is entered
//   sleep MS       answers after that time    touch PATH     creates the file, sleeps
//   spawn          leaves a process behind, in a session of its own
//   count PATH     appends a byte: how often a body was entered
//   files          answers how many descriptors it may have
//   flood N PATH   creates PATH.runs, waits for PATH, prints N lines of 1 KiB, creates PATH.done,
//                  sleeps
//   scream         leaves processes that print for ever, in a session of their own, and ends with
//                  code 3
//   deaf MS        as sleep, but hears no cancellation, which ends sleep and touch at once
//   attempt PATH N DOES   appends a byte; does what DOES says if the file then has at most N bytes,
//                  else answers its buffers, reversed, or how many bytes the file has
//   overrun PATH MS   creates PATH.runs, waits for PATH, overwrites what lies behind its buffers in
//                  shared memory, creates PATH.done, and ends with code 9 after that time
//   scribble       overwrites its buffers and fails       refuse TEXT    fails for good
//
// The pool's setup "fail TEXT" makes each worker refuse to start; "die" ends it there, "die PATH"
// after it has appended a byte; "first PATH" ends all but the first, which takes its time; "hang"
// leaves it there.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "exec/launcher.hpp"

namespace {

using ionian::Received;
using ionian::ReplyStatus;
using ionian::RequestKind;
using ionian::Worker;

void answer(Worker& worker, ReplyStatus status, const std::string& text) {
  worker.channel().reply(status, {std::as_bytes(std::span(text)), {}});
}

/// Returns how many there are then.
long append_byte(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  [[maybe_unused]] const ssize_t size = ::write(fd, "x", 1);
  struct stat status {};
  ::fstat(fd, &status);
  ::close(fd);
  return status.st_size;
}

/// Returns whether it slept to the end, and was not cancelled.
bool sleep(Worker& worker, int ms) {
  for (int i = 0; i < ms; ++i) {
    if (worker.take_cancellation()) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

void leave_process_behind() {
  if (::fork() != 0) return;
  ::setsid();
  if (::fork() != 0) ::_exit(0);
  for (;;) ::pause();
}

void wait_at(const std::string& gate) {
  append_byte(gate + ".runs");
  while (::access(gate.c_str(), F_OK) != 0)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

[[noreturn]] void overrun(Worker& worker, const Received& request, const std::string& gate_and_ms) {
  std::istringstream words(gate_and_ms);
  std::string gate;
  int ms = 0;
  words >> gate >> ms;
  wait_at(gate);
  std::memset(request.buffers.front().data(), 0xff, std::size_t{64} << 10);
  append_byte(gate + ".done");
  sleep(worker, ms);
  ::_exit(9);
}

void print_lines(const std::string& count_and_gate) {
  std::istringstream words(count_and_gate);
  int count = 0;
  std::string gate;
  words >> count >> gate;
  wait_at(gate);
  for (int i = 0; i < count; ++i) std::printf("%01023d\n", i);
  std::fflush(stdout);
  append_byte(gate + ".done");
}

[[noreturn]] void scream() {
  for (int i = 0; i < 4; ++i) {
    if (::fork() == 0) break;
    if (i == 3) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));  // for them to begin
      ::_exit(3);
    }
  }
  ::setsid();
  const std::string much(1 << 16, '\n');
  while (::write(STDOUT_FILENO, much.data(), much.size()) > 0) {
  }
  ::_exit(0);
}

void answer_buffers(Worker& worker, const Received& request) {
  std::vector<std::vector<std::byte>> reversed;
  std::vector<std::span<const std::byte>> views;
  for (const auto& buffer : request.buffers) reversed.emplace_back(buffer.rbegin(), buffer.rend());
  for (const auto& buffer : reversed) views.emplace_back(buffer);
  worker.channel().reply(ReplyStatus::kReturned, {{}, views});
}

void obey(Worker& worker, const Received& request) {
  const auto head = request.head();
  std::string text(reinterpret_cast<const char*>(head.data()), head.size());
  if (text == "die-unpickling") ::_exit(9);
  worker.channel().started();
  if (text.starts_with("attempt ")) {
    std::istringstream words(text);
    std::string path;
    long fails = 0;
    words >> text >> path >> fails;
    const long entered = append_byte(path);
    std::getline(words >> std::ws, text);
    if (entered > fails && !request.buffers.empty()) return answer_buffers(worker, request);
    if (entered > fails) return answer(worker, ReplyStatus::kReturned, std::to_string(entered));
  }
  const std::string verb = text.substr(0, text.find(' '));
  const std::string rest = text.size() > verb.size() ? text.substr(verb.size() + 1) : "";
  if (verb == "buffers") return answer_buffers(worker, request);
  if (verb == "raise") return answer(worker, ReplyStatus::kRaised, rest);
  if (verb == "scribble") {
    for (const auto& buffer : request.buffers)
      std::fill(buffer.begin(), buffer.end(), std::byte{0});
    return answer(worker, ReplyStatus::kRaised, "");
  }
  if (verb == "overrun") overrun(worker, request, rest);
  if (verb == "refuse") return answer(worker, ReplyStatus::kRefused, rest);
  std::string result = rest;
  bool cancelled = false;
  if (verb == "files") {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    result = std::to_string(limit.rlim_cur);
  }
  if (verb == "scream") scream();
  if (verb == "flood") {
    print_lines(rest);
    cancelled = !sleep(worker, 600'000);
  }
  if (verb == "pid") result = std::to_string(::getpid());
  if (verb == "visible") result = std::getenv("CUDA_VISIBLE_DEVICES");
  if (verb == "print") {
    std::printf("%s\n", rest.c_str());
    std::fflush(stdout);
    result.clear();
  }
  if (verb == "exit") ::_exit(std::atoi(rest.c_str()));
  if (verb == "kill") {
    std::signal(std::atoi(rest.c_str()), SIG_DFL);  // sanitizers catch some
    ::kill(::getpid(), std::atoi(rest.c_str()));
  }
  if (verb == "sleep") cancelled = !sleep(worker, std::atoi(rest.c_str()));
  if (verb == "deaf") std::this_thread::sleep_for(std::chrono::milliseconds(std::stoi(rest)));
  if (verb == "count") append_byte(rest);
  if (verb == "spawn") leave_process_behind();
  if (verb == "touch") {
    append_byte(rest);
    cancelled = !sleep(worker, 600'000);
  }
  answer(worker, cancelled ? ReplyStatus::kRefused : ReplyStatus::kReturned, result);
}

[[noreturn]] void serve(Worker& worker) {
  for (;;) {
    const auto request = worker.channel().next();
    if (!request) continue;
    switch (static_cast<RequestKind>(request->code)) {
      case RequestKind::kSetup: {
        const auto head = request->head();
        const std::string text(reinterpret_cast<const char*>(head.data()), head.size());
        if (text.starts_with("first ")) {
          if (append_byte(text.substr(6)) > 1) ::_exit(7);
          std::this_thread::sleep_for(std::chrono::milliseconds(100));
        }
        if (text.starts_with("die ")) append_byte(text.substr(4));
        if (text.starts_with("die")) ::_exit(7);
        if (text == "hang") std::this_thread::sleep_for(std::chrono::hours(1));
        const bool fails = text.starts_with("fail ");
        answer(worker, fails ? ReplyStatus::kRaised : ReplyStatus::kReturned,
               fails ? text.substr(5) : "");
        break;
      }
      case RequestKind::kCall:
        obey(worker, *request);
        break;
      case RequestKind::kShutdown:
        ::_exit(0);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--worker") == 0) {
    ::signal(SIGUSR1, SIG_IGN);
    serve(*ionian::Worker::from_inherited());
  }
  ionian::Launcher launcher;
  const auto setup = launcher.setup();
  if (!setup) return 0;
  if (setup->starts_with("fail ")) {
    launcher.failed(setup->substr(5));
    return 1;
  }
  if (*setup == "hang") std::this_thread::sleep_for(std::chrono::hours(1));
  launcher.ready(*setup != "afresh", *setup == "afresh" ? "the test says so" : "");
  while (auto order = launcher.next()) {
    const pid_t pid = ::fork();
    if (pid != 0) {
      launcher.forked(order->worker, pid);
      continue;
    }
    launcher.forget();
    ::signal(SIGUSR1, SIG_IGN);
    for (const auto& entry : order->env) {
      const std::size_t equals = entry.find('=');
      ::setenv(entry.substr(0, equals).c_str(), entry.substr(equals + 1).c_str(), 1);
    }
    const auto worker = order->become();
    serve(*worker);
  }
  return 0;
}
