// Workers that cannot be started, for want of descriptors, and those that never get ready.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "support/run.hpp"

namespace ionian {
namespace {

using testing::RunTest;
using testing::wait_until;
using namespace std::chrono_literals;

class ExecutorStartTest : public RunTest {};

TEST_F(ExecutorStartTest, WorkersThatNeverGetReady_AreACrashLoop) {
  start();
  PoolOptions options;
  options.setup = "die";
  EXPECT_THROW(call(pool("", options), "echo x"), CrashLoopError);
}

TEST_F(ExecutorStartTest, WorkersThatNeverGetReady_AreNotStartedForEverForMinContainers) {
  start();
  const std::string starts = locks.path("starts");
  PoolOptions options;
  options.min_containers = 1;
  options.setup = "die " + starts;
  Pool* f = pool("", options);
  wait_until("it has been tried", [&] { return testing::file_size(starts) >= 3; });
  PoolOptions healthy;
  healthy.name = "g";
  Pool* g = pool("", healthy);
  for (int i = 0; i < 50; ++i) call(g, "sleep 2");  // time for more
  EXPECT_EQ(testing::file_size(starts), 3U);
  bool closed = false;
  const auto event = executor->next_event(sys::Clock::now() + 10s, closed);
  ASSERT_TRUE(event) << "nobody waits for a call, so it is said";
  EXPECT_EQ(event->kind, ExecutorEvent::Kind::kWarning);
  EXPECT_NE(event->text.find("three workers in a row"), std::string::npos) << event->text;
  EXPECT_THROW(call(f, "echo x"), CrashLoopError);
  EXPECT_EQ(testing::file_size(starts), 6U) << "a call tries again";
}

TEST_F(ExecutorStartTest, WorkersThatNeverGetReady_OnSeveralGpus_AreACrashLoopToo) {
  start("A10G:3");
  PoolOptions options;
  options.setup = "die";
  Pool* f = pool("A10G", options);
  std::vector<CallPtr> calls;
  for (int i = 0; i < 5; ++i) calls.push_back(submit(f, "echo x"));
  for (const auto& made : calls) EXPECT_THROW(result(made), CrashLoopError);
}

TEST_F(ExecutorStartTest, WorkersThatNeverGetReady_DoNotFailCallsThatAnotherRuns) {
  start();
  PoolOptions options;
  options.setup = "first " + locks.path("starts");
  options.min_containers = 5;
  Pool* f = pool("", options);
  std::vector<CallPtr> calls;
  for (int i = 0; i < 5; ++i) calls.push_back(submit(f, "echo x"));
  for (const auto& made : calls) EXPECT_EQ(result(made), "x");
}

TEST_F(ExecutorStartTest, PoolThatWasGivenUp_IsFilledAgainAfterAWhile) {
  start();
  const std::string starts = locks.path("starts");
  PoolOptions options;
  options.min_containers = 1;
  options.setup = "die " + starts;
  pool("", options);
  wait_until("it has been given up", [&] { return testing::file_size(starts) == 3; });
  wait_until("it is tried again", [&] { return testing::file_size(starts) == 6; });
}

class GuardianLimitTest : public ExecutorStartTest,
                          public ::testing::WithParamInterface<const char*> {};

TEST_P(GuardianLimitTest, IsAsHighAsItMayBe_AndItsWorkersHaveWhatTheUserHad) {
  guardian_program = limited(IONIAN_GUARDIAN, "-Sn", 60);
  start("A10G:2", GetParam());
  PoolOptions options;
  options.min_containers = 30;
  options.max_containers = 30;
  Pool* f = pool("", options);
  EXPECT_EQ(call(f, "files"), "60");
  wait_until("guardian, launcher and all workers are there", [&] {
    return process::find_by_variable(process::kRunVariable, executor->run_id()).size() == 32;
  });
  std::ifstream limits("/proc/" + std::to_string(find_process("ionian-guardian")) + "/limits");
  std::string line;
  while (std::getline(limits, line) && !line.starts_with("Max open files")) {
  }
  std::istringstream words(line.substr(line.find("files") + 5));
  std::string soft;
  std::string hard;
  words >> soft >> hard;
  EXPECT_EQ(soft, hard);
  EXPECT_NE(soft, "60");
}

INSTANTIATE_TEST_SUITE_P(Workers, GuardianLimitTest, ::testing::Values("", "afresh"),
                         [](const auto& each) {
                           return *each.param == 0 ? "OfTheLauncher" : "OfTheGuardian";
                         });

/// By how many descriptors the guardian may have: the last ones go to an order in whole or in part.
class GuardianDescriptorsTest : public ExecutorStartTest,
                                public ::testing::WithParamInterface<int> {};

TEST_P(GuardianDescriptorsTest, TooFewForOneMoreWorker_ItGoesOnWithThoseThatThereAre) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the undefined-behaviour sanitizer itself needs descriptors to look at an object";
#endif
  guardian_program = limited(IONIAN_GUARDIAN, "-n", GetParam());
  start("A10G:1");
  Pool* f = pool();
  const std::string worker = call(f, "pid");
  const pid_t before = find_process("ionian-guardian");
  PoolOptions options;
  options.name = "many";
  options.min_containers = 30;  // one gets the GPU, the others keep their descriptors waiting
  const std::string error = error_of(submit(pool("A10G", options), "echo x"));
  EXPECT_TRUE(error.empty() || error.find("descriptor") != std::string::npos ||
              error.find("Too many open files") != std::string::npos)
      << error;
  PoolOptions last;
  last.name = "last";
  static_cast<void>(error_of(submit(pool("", last), "echo x")));  // all orders have been handled
  EXPECT_EQ(call(f, "pid"), worker);
  EXPECT_EQ(find_process("ionian-guardian"), before);
}

INSTANTIATE_TEST_SUITE_P(Limits, GuardianDescriptorsTest, ::testing::Range(40, 44));

TEST_F(ExecutorStartTest, LauncherWithoutDescriptorsForOneMoreWorker_SaysSo) {
  launcher_program = limited(IONIAN_SCRIPTED_LAUNCHER, "-n", 9);
  start("A10G:1");
  const std::string error = error_of(submit(pool("A10G"), "echo x"));
  EXPECT_TRUE(error.starts_with("CrashLoopError")) << error;
  EXPECT_NE(error.find("no file descriptor is left in the process that imported the code"),
            std::string::npos)
      << error;
}

}  // namespace
}  // namespace ionian
