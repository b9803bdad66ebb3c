// A run with everything in it, as a program of its own: fault points strike in it, and in what it
// starts. Arguments: guardian, scripted launcher, lock directory; "die" ends it by SIGKILL as soon
// as a function has hidden a process.
//
// Prints the kind of each error that a caller sees. Ends with 0 if every call was answered or
// failed with one of ours, with 3 if one was neither within twenty seconds.
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#include "exec/executor.hpp"
#include "exec/process.hpp"
#include "ionian/communicator.hpp"
#include "ionian/error.hpp"

namespace {

using namespace ionian;  // NOLINT: a program
using namespace std::chrono_literals;

class Run {
 public:
  Run(const char* guardian, const char* launcher, const char* locks) {
    ExecutorOptions options;
    options.guardian = guardian;
    options.app = "faults";
    options.simulate = "A10G:2";
    options.lock_dir = locks;
    executor_ = std::make_unique<Executor>(options);
    launcher_ = executor_->start_launcher({{launcher}, process::environment(), "", ""});
  }

  Pool* pool(const std::string& name, const std::string& gpu) {
    PoolOptions options;
    options.launcher = launcher_;
    options.name = name;
    options.timeout = 10s;
    if (!gpu.empty()) options.gpu = GpuRequest::parse(gpu);
    return executor_->create_pool(std::move(options));
  }

  void call(Pool* pool, const std::string& text, std::size_t large = 0) {
    const std::vector<std::byte> buffer(large);
    std::vector<std::span<const std::byte>> buffers;
    if (large != 0) buffers.emplace_back(buffer);
    const auto made = executor_->submit(pool, {std::as_bytes(std::span(text)), buffers});
    if (!executor_->wait(*made, sys::Clock::now() + 20s)) {
      std::printf("no answer to %s\n", text.c_str());
      std::fflush(stdout);
      std::_Exit(3);
    }
    if (made->failure) std::rethrow_exception(made->failure);
  }

  void close() { executor_->close(0ms); }

 private:
  std::unique_ptr<Executor> executor_;
  std::uint32_t launcher_ = 0;
};

template <class Body>
void attempt(Body body) {
  try {
    body();
  } catch (const Error& error) {
    std::printf("%s: %s\n", std::string(error.kind()).c_str(), error.what());
  }
}

void communicate() {
  CommunicatorOptions options;
  options.timeout = 1s;
  const auto id = Communicator::unique_id(CommBackend::kSharedMemory);
  std::thread other([&] { attempt([&] { Communicator rank(id, 1, 2, Array::kHost, options); }); });
  attempt([&] { Communicator rank(id, 0, 2, Array::kHost, options); });
  other.join();
}

/// Returns the children of another process, by pidfd.
std::vector<UniqueFd> children_of(pid_t pid) {
  const std::string id = std::to_string(pid);
  std::ifstream file("/proc/" + id + "/task/" + id + "/children");
  std::vector<UniqueFd> found;
  for (pid_t child = 0; file >> child;) found.push_back(process::open_pidfd(child));
  return found;
}

/// Kills the guardian while we are stopped, so that its launcher cleans up and not we. Returns when
/// it has been reaped: the next call gets another.
void kill_guardian(pid_t guardian) {
  const pid_t self = ::getpid();
  const pid_t helper = ::fork();
  if (helper == 0) {
    const auto launchers = children_of(guardian);
    ::kill(self, SIGSTOP);
    ::kill(guardian, SIGKILL);
    for (const auto& launcher : launchers) {
      pollfd polled{launcher.get(), POLLIN, 0};
      ::poll(&polled, 1, 5000);
    }
    ::kill(self, SIGCONT);
    ::_exit(0);
  }
  for (int i = 0; i < 10'000 && ::kill(guardian, 0) == 0; ++i) std::this_thread::sleep_for(1ms);
  ::waitpid(helper, nullptr, 0);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4 && argc != 5) return 2;
  if (argc == 5) {
    Run run(argv[1], argv[2], argv[3]);
    run.call(run.pool("on_gpu", "A10G"), "spawn");
    std::raise(SIGKILL);
  }
  communicate();
  attempt([&] {
    Run run(argv[1], argv[2], argv[3]);
    attempt([&] {
      Pool* plain = run.pool("plain", "");
      Pool* on_gpu = run.pool("on_gpu", "A10G");
      attempt([&] { run.call(plain, "echo a"); });
      attempt([&] { run.call(on_gpu, "spawn"); });
      attempt([&] { run.call(on_gpu, "buffers", 100'000); });
      attempt([&] { run.call(on_gpu, "buffers", 5'000'000); });
      attempt([&] { run.call(on_gpu, "kill 9"); });
      attempt([&] { run.call(on_gpu, "echo again"); });
      Pool* both = run.pool("both", "A10G:2");
      attempt([&] { run.call(both, "echo both"); });
      for (const pid_t pid : process::children()) kill_guardian(pid);
      attempt([&] { run.call(both, "echo after it"); });
      attempt([&] { run.call(both, "echo again"); });
    });
    run.close();
  });
  return 0;
}
