// A launcher without Python, for tests: its workers do what the text of each call says.
//
//   echo TEXT      answers TEXT               buffers        answers its buffers, bytes reversed
//   pid            answers its pid            visible        answers CUDA_VISIBLE_DEVICES
//   raise TEXT     answers TEXT as raised     print TEXT     writes a line to stdout, answers ""
//   exit N · kill N   ends so, in the body    die-unpickling ends before the body is entered
//   sleep MS       answers after that time    spawn          leaves a process behind in a session
//   of its own touch PATH     creates the file, sleeps   count PATH     appends a byte: how often a
//   body was entered
//   deaf MS        as sleep, but hears no cancellation, which ends sleep and touch at once
//   attempt PATH N DOES    appends a byte; does what DOES says if the file then has at most N
//   bytes,
//                          else answers its buffers, reversed, or how many bytes the file has
//   scribble       overwrites its buffers and fails       refuse TEXT    fails for good
//
// The pool's setup "fail TEXT" makes each worker refuse to start; "die" ends it there; "hang"
// leaves it there.
#include <fcntl.h>
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
  if (verb == "refuse") return answer(worker, ReplyStatus::kRefused, rest);
  std::string result = rest;
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
  bool cancelled = verb == "sleep" && !sleep(worker, std::atoi(rest.c_str()));
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
        if (text == "die") ::_exit(7);
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
