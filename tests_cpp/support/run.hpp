// run.hpp: a real run for tests: guardian, scripted launcher and workers, on simulated GPUs.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "exec/executor.hpp"
#include "exec/process.hpp"
#include "support/temporary_directory.hpp"

namespace ionian::testing {

using namespace std::chrono_literals;  // NOLINT: tests only

/// Waits until `condition` holds; fails the test after ten seconds, saying what was waited for.
inline bool wait_until(const std::string& what, const std::function<bool()>& condition) {
  for (int i = 0; i < 10'000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(1ms);
  }
  ADD_FAILURE() << "waited in vain until " << what;
  return false;
}

inline std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
    ++count;
  return count;
}

inline std::size_t file_size(const std::string& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  return error ? 0 : size;
}

/// Each test ends with the audit: no process of the run, no descriptor, no GPU held.
class RunTest : public ::testing::Test {
 protected:
  void SetUp() override {
    generation_ = ::alarm(100);  // a test that hangs is ended
    descriptors_ = open_descriptors();
  }

  void TearDown() override {
    if (executor) {
      const std::string run = executor->run_id();
      executor->close(0ms);
      executor.reset();
      EXPECT_EQ(process::find_by_variable(process::kRunVariable, run), std::vector<pid_t>{});
    }
    EXPECT_EQ(open_descriptors(), descriptors_);
    EXPECT_EQ(process::children(), std::vector<pid_t>{});
    ::alarm(0);
  }

  Executor& start(const std::string& gpus = "A10G:2", const std::string& launcher_setup = "") {
    ExecutorOptions options;
    options.guardian = guardian_program;
    options.app = "test";
    options.simulate = gpus;
    options.lock_dir = locks.path();
    executor = std::make_unique<Executor>(options);
    launcher =
        executor->start_launcher({{launcher_program}, process::environment(), "", launcher_setup});
    return *executor;
  }

  Pool* pool(const std::string& gpu = "", PoolOptions options = {}) {
    options.launcher = launcher;
    if (options.name.empty()) options.name = "f";
    if (!gpu.empty()) options.gpu = GpuRequest::parse(gpu);
    return executor->create_pool(std::move(options));
  }

  /// Returns a pool whose calls are known to be short, so that they are sent ahead of their turn.
  Pool* prefetching_pool(std::size_t min_containers, std::size_t max_containers) {
    PoolOptions options;
    options.min_containers = min_containers;
    options.max_containers = max_containers;
    Pool* made = pool("", options);
    for (int i = 0; i < 2000; ++i) call(made, "echo warm");
    return made;
  }

  CallPtr submit(Pool* pool, const std::string& text, std::shared_ptr<CallGroup> group = nullptr) {
    return executor->submit(pool, {std::as_bytes(std::span(text)), {}}, std::move(group));
  }

  /// Returns the answer; throws what the call failed with.
  std::string result(const CallPtr& call) {
    if (!executor->wait(*call, sys::Clock::now() + 20s)) throw std::runtime_error("no answer");
    if (call->failure) std::rethrow_exception(call->failure);
    const auto head = call->reply->head();
    return {reinterpret_cast<const char*>(head.data()), head.size()};
  }

  /// Returns what the call failed with, "" if it was answered.
  std::string error_of(const CallPtr& made) {
    try {
      result(made);
    } catch (const Error& error) {
      return std::string(error.kind()) + ": " + error.what();
    }
    return "";
  }

  std::string call(Pool* pool, const std::string& text) { return result(submit(pool, text)); }

  /// Returns the process of the run that has this name, 0 if there is none.
  pid_t find_process(const std::string& name) { return find_process(name, executor->run_id()); }
  static pid_t find_process(const std::string& name, const std::string& run) {
    for (const pid_t pid : process::find_by_variable(process::kRunVariable, run)) {
      std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
      std::string comm;
      std::getline(file, comm);
      if (comm == name.substr(0, 15)) return pid;
    }
    return 0;
  }

  /// Returns a program that runs `program` with at most so many descriptors, as `option` of ulimit
  /// says: "-Sn" for now, "-n" for good.
  std::string limited(const std::string& program, const std::string& option, int descriptors) {
    const std::string path = locks.path("limited");
    std::ofstream(path) << "#!/bin/sh\nulimit " << option << " " << descriptors << "\nexec "
                        << program << " \"$@\"\n";
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return path;
  }

  std::string guardian_program = IONIAN_GUARDIAN;
  std::string launcher_program = IONIAN_SCRIPTED_LAUNCHER;
  TemporaryDirectory locks;
  std::unique_ptr<Executor> executor;
  std::uint32_t launcher = 0;

 private:
  std::size_t descriptors_ = 0;
  unsigned generation_ = 0;
};

}  // namespace ionian::testing
