#include "exec/executor.hpp"

#include <gtest/gtest.h>

#include <set>

#include "support/run.hpp"

namespace ionian {
namespace {

using testing::RunTest;
using testing::wait_until;
using namespace std::chrono_literals;

class ExecutorTest : public RunTest {};

TEST_F(ExecutorTest, Call_IsAnsweredByAWarmWorker) {
  start();
  Pool* f = pool();
  const std::string pid = call(f, "pid");
  for (int i = 0; i < 100; ++i) EXPECT_EQ(call(f, "pid"), pid);
  EXPECT_EQ(call(f, "echo hello"), "hello");
}

TEST_F(ExecutorTest, FunctionWithoutGpu_SeesNone) {
  start();
  EXPECT_EQ(call(pool(), "visible"), "");
}

TEST_F(ExecutorTest, FunctionWithGpus_SeesExactlyItsOwn) {
  start("H100:4");
  const std::string visible = call(pool("H100:2"), "visible");
  EXPECT_EQ(std::count(visible.begin(), visible.end(), ','), 1);
  std::set<std::string> existing;
  for (const auto& device : executor->inventory().devices) existing.insert(device.uuid);
  EXPECT_EQ(existing.count(visible.substr(0, visible.find(','))), 1U);
  EXPECT_EQ(existing.count(visible.substr(visible.find(',') + 1)), 1U);
}

TEST_F(ExecutorTest, PoolGrowsToTheGpus_EachWorkerOnItsOwn) {
  start("A10G:3");
  Pool* f = pool("A10G");
  std::vector<CallPtr> calls;
  for (int i = 0; i < 3; ++i) calls.push_back(submit(f, "sleep 200"));
  wait_until("three workers run",
             [&] { return executor->queued(f) == 0 && executor->workers(f) == 3; });
  for (const auto& made : calls) result(made);
  std::set<std::string> seen;
  for (int i = 0; i < 3; ++i) calls[static_cast<std::size_t>(i)] = submit(f, "visible");
  for (const auto& made : calls) seen.insert(result(made));
  EXPECT_LE(executor->workers(f), 3U);
  EXPECT_GE(seen.size(), 1U);
}

TEST_F(ExecutorTest, MaxContainers_IsTheMost) {
  start("A10G:4");
  PoolOptions options;
  options.max_containers = 2;
  Pool* f = pool("A10G", options);
  std::vector<CallPtr> calls;
  for (int i = 0; i < 12; ++i) calls.push_back(submit(f, "sleep 5"));
  for (const auto& made : calls) {
    result(made);
    EXPECT_LE(executor->workers(f), 2U);
  }
}

TEST_F(ExecutorTest, MinContainers_StartWithoutACall) {
  start();
  PoolOptions options;
  options.min_containers = 2;
  Pool* f = pool("", options);
  EXPECT_EQ(executor->workers(f), 2U);
}

TEST_F(ExecutorTest, IdleWorker_EndsAfterItsWindow_AndGivesItsGpuBack) {
  start("A10G:1");
  PoolOptions options;
  options.scaledown_window = 20ms;
  Pool* f = pool("A10G", options);
  call(f, "echo x");
  wait_until("the worker is gone", [&] { return executor->workers(f) == 0; });
  EXPECT_EQ(call(f, "echo again"), "again");
}

TEST_F(ExecutorTest, IdleWorker_GivesWayToAnotherPoolAtOnce) {
  start("A10G:1");
  Pool* f = pool("A10G");
  Pool* g = pool("A10G");
  EXPECT_EQ(call(f, "echo f"), "f");
  EXPECT_EQ(call(g, "echo g"), "g");  // f's window is a minute
  EXPECT_EQ(call(f, "echo f"), "f");
}

TEST_F(ExecutorTest, TwoRunsOnOneMachine_NeverShareAGpu_AndWaitForEachOther) {
  start("A10G:1");
  Pool* f = pool("A10G");
  const CallPtr first = submit(f, "sleep 300");
  wait_until("it runs", [&] { return executor->queued(f) == 0; });
  ExecutorOptions options;
  options.guardian = IONIAN_GUARDIAN;
  options.app = "other";
  options.simulate = "A10G:1";
  options.lock_dir = locks.path();
  Executor other(options);
  PoolOptions pool_options;
  pool_options.launcher =
      other.start_launcher({{IONIAN_SCRIPTED_LAUNCHER}, process::environment(), "", ""});
  pool_options.name = "g";
  pool_options.gpu = GpuRequest::parse("A10G");
  Pool* g = other.create_pool(pool_options);
  const std::string text = "echo second";
  const CallPtr second = other.submit(g, {std::as_bytes(std::span(text)), {}});
  EXPECT_FALSE(other.wait(*second, sys::Clock::now() + 100ms));
  result(first);
  EXPECT_TRUE(other.wait(*second, sys::Clock::now() + 10s)) << "the idle worker gives way";
}

TEST_F(ExecutorTest, RequestThatCanNeverBeGranted_ThrowsAtOnceAndSaysWhatExists) {
  start("A10G:2");
  try {
    pool("H100");
    FAIL();
  } catch (const UnsatisfiableError& error) {
    EXPECT_NE(std::string(error.what()).find("A10G"), std::string::npos) << error.what();
  }
  EXPECT_THROW(pool("A10G:3"), UnsatisfiableError);
}

TEST_F(ExecutorTest, LargeBuffers_GoAndComeBack) {
  start();
  Pool* f = pool();
  std::vector<std::byte> data(std::size_t{20} << 20);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i * 7 % 253);
  const std::string head = "buffers";
  for (int round = 0; round < 3; ++round) {
    const std::vector<std::span<const std::byte>> buffers{data};
    const CallPtr made = executor->submit(f, {std::as_bytes(std::span(head)), buffers});
    ASSERT_TRUE(executor->wait(*made, sys::Clock::now() + 20s));
    ASSERT_EQ(made->reply->buffers.size(), 1U);
    EXPECT_TRUE(std::equal(data.rbegin(), data.rend(), made->reply->buffers[0].begin()));
  }
}

TEST_F(ExecutorTest, ManyCalls_AllComeBackOnce) {
  start();
  Pool* f = pool();
  auto group = std::make_shared<CallGroup>();
  constexpr std::size_t kCalls = 20'000;
  for (std::size_t i = 0; i < kCalls; ++i) submit(f, "echo " + std::to_string(i), group);
  std::set<std::uint64_t> ids;
  while (ids.size() < kCalls) {
    ASSERT_TRUE(executor->wait(*group, sys::Clock::now() + 20s));
    for (const auto& done : executor->take(*group, 1000)) EXPECT_TRUE(ids.insert(done->id).second);
  }
  EXPECT_EQ(group->pending, 0U);
}

TEST_F(ExecutorTest, CallsFromManyThreads_EachGetTheirOwnAnswer) {
  start();
  Pool* f = pool();
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 300; ++i) {
        const std::string text = std::to_string(t) + "." + std::to_string(i);
        EXPECT_EQ(call(f, "echo " + text), text);
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

TEST_F(ExecutorTest, CallThatNobodyWaitsFor_IsDoneAllTheSame) {
  start();
  Pool* f = pool();
  const UniqueFd told = sys::event_fd();
  const auto group = std::make_shared<CallGroup>(told.get());
  for (int i = 0; i < 200; ++i) submit(f, "echo x", group);
  std::uint64_t done = 0;
  wait_until("all are done", [&] {
    std::uint64_t count = 0;
    if (::read(told.get(), &count, sizeof(count)) > 0) done += count;
    return done == 200;
  });
}

TEST_F(ExecutorTest, ShortCallsBehindALongOne_MoveToAnIdleWorker) {
  start();
  Pool* f = prefetching_pool(2, 2);
  auto group = std::make_shared<CallGroup>();
  const CallPtr blocker = submit(f, "sleep 2000");
  for (int i = 0; i < 40; ++i) submit(f, "echo x", group);
  for (std::size_t done = 0; done < 40;) {
    ASSERT_TRUE(executor->wait(*group, sys::Clock::now() + 20s));
    done += executor->take(*group, 100).size();
  }
  EXPECT_NE(blocker->state, Call::State::kDone) << "they waited for the long call";
  executor->cancel(blocker, true);
}

TEST_F(ExecutorTest, Output_ComesAsWholeLinesWithItsWorker) {
  start();
  call(pool(), "print one line");
  bool closed = false;
  const auto event = executor->next_event(sys::Clock::now() + 10s, closed);
  ASSERT_TRUE(event);
  EXPECT_EQ(event->kind, ExecutorEvent::Kind::kStdout);
  EXPECT_EQ(event->text, "one line");
  EXPECT_EQ(event->worker, 1U);
  EXPECT_EQ(event->pool, "f");
}

TEST_F(ExecutorTest, LauncherThatMayNotFork_StartsFreshProcesses_AndSaysWhy) {
  start("A10G:2", "afresh");
  Pool* f = pool("A10G");
  EXPECT_EQ(call(f, "echo hello"), "hello");
  EXPECT_NE(call(f, "visible"), "");
  bool closed = false;
  const auto event = executor->next_event(sys::Clock::now() + 10s, closed);
  ASSERT_TRUE(event);
  EXPECT_EQ(event->kind, ExecutorEvent::Kind::kWarning);
  EXPECT_NE(event->text.find("the test says so"), std::string::npos);
}

TEST_F(ExecutorTest, Close_IsQuickWhenNothingRuns_AndIdempotent) {
  start();
  call(pool("A10G"), "echo x");
  executor->close(5s);
  executor->close(5s);
  EXPECT_THROW(submit(nullptr, "echo"), ExecutionError);
}

}  // namespace
}  // namespace ionian
