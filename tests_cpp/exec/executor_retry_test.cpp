// Attempts: how often a body is entered, and how a call ends, whatever happens to its workers.
#include <gtest/gtest.h>

#include <csignal>
#include <set>

#include "ionian/lease.hpp"
#include "support/run.hpp"

namespace ionian {
namespace {

using testing::file_size;
using testing::RunTest;
using testing::wait_until;
using namespace std::chrono_literals;

class ExecutorRetryTest : public RunTest {
 protected:
  Pool* retrying(std::uint32_t retries, PoolOptions options = {}) {
    options.retries = {retries, 1.0, 0s, 60s};
    return pool("A10G", std::move(options));
  }

  /// A call whose first `failures` attempts do as `does` says.
  std::string attempt(int failures, const std::string& does) const {
    return "attempt " + counter + " " + std::to_string(failures) + " " + does;
  }

  std::string counter = locks.path("counter");
};

TEST_F(ExecutorRetryTest, FailedAttempt_IsTriedAgainHoweverItFailed_UntilItSucceeds) {
  start("A10G:1");
  PoolOptions options;
  options.timeout = 200ms;
  options.grace = 20ms;
  Pool* f = retrying(3, options);
  for (const std::string does :
       {"raise oh no", "kill 9", "kill 11", "exit 0", "exit 3", "sleep 60000", "deaf 60000"}) {
    ::unlink(counter.c_str());
    EXPECT_EQ(call(f, attempt(2, does)), "3") << does;
    EXPECT_EQ(file_size(counter), 3U) << does;
  }
}

TEST_F(ExecutorRetryTest,
       BodyThatAlwaysFails_IsEnteredOnePlusRetriesTimes_AndItsLastErrorIsTheCalls) {
  start("A10G:1");
  PoolOptions options;
  options.timeout = 200ms;
  options.grace = 20ms;
  for (const std::uint32_t retries : {0U, 1U, 3U}) {
    Pool* f = retrying(retries, options);
    const auto entered = [&](const std::string& does, const CallPtr& made) {
      EXPECT_TRUE(executor->wait(*made, sys::Clock::now() + 20s));
      EXPECT_EQ(file_size(counter), 1 + retries) << does;
      ::unlink(counter.c_str());
    };
    const CallPtr raised = submit(f, attempt(100, "raise oh no"));
    EXPECT_EQ(result(raised), "oh no");
    entered("raise", raised);
    const CallPtr died = submit(f, attempt(100, "kill 9"));
    EXPECT_THROW(result(died), WorkerDiedError);
    entered("kill", died);
    const CallPtr slow = submit(f, attempt(100, "sleep 60000"));
    EXPECT_THROW(result(slow), FunctionTimeoutError);
    entered("sleep", slow);
  }
}

TEST_F(ExecutorRetryTest, WhatWouldFailTheSameWay_IsNotTriedAgain) {
  start("A10G:1");
  Pool* f = retrying(5);
  const CallPtr refused = submit(f, attempt(100, "refuse it cannot be sent"));
  EXPECT_EQ(result(refused), "it cannot be sent");
  EXPECT_EQ(file_size(counter), 1U);
  EXPECT_THROW(call(f, "die-unpickling"), WorkerDiedError);
  EXPECT_EQ(call(f, "echo next"), "next");
}

TEST_F(ExecutorRetryTest, Buffers_AreTheSameInEachAttempt_AfterTheBodyWroteIntoThem) {
  start("A10G:1");
  Pool* f = retrying(2);
  std::vector<std::byte> data(300'000);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i * 7);
  const std::string text = attempt(2, "scribble");
  const std::span<const std::byte> buffer(data);
  for (const bool borrow : {false, true}) {
    ::unlink(counter.c_str());
    const CallPtr made =
        executor->submit(f, {std::as_bytes(std::span(text)), {&buffer, 1}}, nullptr, 0, borrow);
    ASSERT_TRUE(executor->wait(*made, sys::Clock::now() + 20s));
    ASSERT_FALSE(made->failure);
    ASSERT_EQ(made->reply->buffers.size(), 1U);
    EXPECT_TRUE(std::equal(data.rbegin(), data.rend(), made->reply->buffers[0].begin())) << borrow;
  }
}

TEST_F(ExecutorRetryTest, CallBetweenTwoAttempts_HoldsNoWorker_AndIsCancelledAtOnce) {
  start("A10G:1");
  PoolOptions options;
  options.retries = {5, 1.0, 60s, 60s};
  Pool* f = pool("A10G", options);
  const CallPtr waits = submit(f, attempt(100, "raise oh no"));
  wait_until("its first attempt has failed", [&] { return file_size(counter) == 1; });
  EXPECT_EQ(call(f, "echo meanwhile"), "meanwhile") << "on the only GPU";
  EXPECT_FALSE(waits->ready());
  executor->cancel(waits, false);
  EXPECT_TRUE(waits->ready());
  EXPECT_THROW(result(waits), RemoteError);
  EXPECT_EQ(call(f, "echo next"), "next");
  EXPECT_EQ(file_size(counter), 1U);
}

TEST_F(ExecutorRetryTest, CloseBetweenTwoAttempts_FailsTheCall) {
  start("A10G:1");
  PoolOptions options;
  options.retries = {5, 1.0, 60s, 60s};
  Pool* f = pool("A10G", options);
  const CallPtr waits = submit(f, attempt(100, "raise oh no"));
  wait_until("its first attempt has failed", [&] { return file_size(counter) == 1; });
  call(f, "echo the failure has been read");
  executor->close(0ms);
  EXPECT_THROW(result(waits), ExecutionError);
}

TEST_F(ExecutorRetryTest, GuardianKilled_IsADeathOfTheWorker_AndTriedAgain) {
  start("A10G:1");
  Pool* f = retrying(1);
  const CallPtr made = submit(f, attempt(1, "sleep 60000"));
  wait_until("it runs", [&] { return file_size(counter) == 1; });
  ::kill(find_process("ionian-guardian"), SIGKILL);
  EXPECT_EQ(result(made), "2");
}

TEST_F(ExecutorRetryTest, CallsBehindOneThatTimesOut_DoNotWaitForItsEnd_AndAreRunOnceEach) {
  start();
  PoolOptions options;
  options.max_containers = 2;
  options.timeout = 100ms;
  options.grace = 60s;
  Pool* f = pool("", options);
  for (int i = 0; i < 2000; ++i) call(f, "echo warm");  // short calls are sent ahead
  const CallPtr slow = submit(f, "deaf 600000");
  std::vector<CallPtr> behind;
  for (int i = 0; i < 40; ++i) behind.push_back(submit(f, "count " + counter));
  EXPECT_THROW(result(slow), FunctionTimeoutError);
  for (const auto& made : behind) result(made);
  EXPECT_EQ(file_size(counter), 40U);
}

TEST_F(ExecutorRetryTest, CallsBehindOneWhoseWorkerIsTerminated_AreRunOnceEach) {
  start();
  PoolOptions options;
  options.max_containers = 1;
  Pool* f = pool("", options);
  for (int i = 0; i < 2000; ++i) call(f, "echo warm");
  const CallPtr running = submit(f, "touch " + locks.path("running"));
  std::vector<CallPtr> behind;
  for (int i = 0; i < 40; ++i) behind.push_back(submit(f, "count " + counter));
  wait_until("it runs", [&] { return file_size(locks.path("running")) == 1; });
  executor->cancel(running, true);
  EXPECT_THROW(result(running), RemoteError);
  for (const auto& made : behind) result(made);
  EXPECT_EQ(file_size(counter), 40U);
}

TEST_F(ExecutorRetryTest, CancelledBodyThatDoesNotEnd_LosesItsWorkerAfterTheGrace) {
  start("A10G:1");
  PoolOptions options;
  options.grace = 20ms;
  Pool* f = pool("A10G", options);
  const CallPtr deaf = submit(f, attempt(1, "deaf 600000"));
  wait_until("it runs", [&] { return file_size(counter) == 1; });
  executor->cancel(deaf, false);
  EXPECT_THROW(result(deaf), RemoteError);
  EXPECT_EQ(call(f, "echo next"), "next") << "on the only GPU";
}

TEST_F(ExecutorRetryTest, CancelledBodyThatEnds_LeavesTheWorkerWarm) {
  start("A10G:1");
  Pool* f = pool("A10G");
  const std::string pid = call(f, "pid");
  const CallPtr running = submit(f, attempt(1, "sleep 600000"));
  wait_until("it runs", [&] { return file_size(counter) == 1; });
  executor->cancel(running, false);
  EXPECT_THROW(result(running), RemoteError);
  EXPECT_EQ(call(f, "pid"), pid);
}

TEST_F(ExecutorRetryTest, CallsCancelledTogether_DoNotBeginWhileOthersEnd) {
  start("A10G:1");
  Pool* f = pool("A10G");
  const CallPtr running = submit(f, "touch " + locks.path("running"));
  wait_until("it runs", [&] { return file_size(locks.path("running")) == 1; });
  std::vector<CallPtr> all{running};
  for (int i = 0; i < 100; ++i) all.push_back(submit(f, "count " + counter));
  executor->cancel(all, true);
  for (const auto& made : all) EXPECT_THROW(result(made), RemoteError);
  EXPECT_EQ(call(f, "echo next"), "next");
  EXPECT_EQ(file_size(counter), 0U);
}

TEST_F(ExecutorRetryTest, WorkerThatIsNotReadyInTime_FailsTheCallAndSaysSo_AndItsGpuIsFree) {
  struct Row {
    const char* says;
    const char* launcher;  // where it hangs
    const char* worker;
  };
  for (const Row& row : {Row{"in the worker", "", "hang"}, Row{"in the launcher", "hang", ""}}) {
    start("A10G:1", row.launcher);
    PoolOptions options;
    options.setup = row.worker;
    options.startup_timeout = 50ms;
    Pool* f = pool("A10G", options);
    for (int i = 0; i < 2; ++i) {
      try {
        call(f, "echo x");
        ADD_FAILURE() << row.says;
      } catch (const CrashLoopError&) {
        ADD_FAILURE() << row.says;
      } catch (const WorkerStartError& error) {
        EXPECT_NE(std::string(error.what()).find("startup_timeout of 0.05 s"), std::string::npos)
            << error.what();
      }
    }
    LeaseBookOptions lease_options;
    lease_options.lock_dir = locks.path();
    InventoryOptions inventory;
    inventory.simulate = "A10G:1";
    LeaseBook book(read_inventory(inventory), lease_options);
    LeaseWaiter waiter = book.request(GpuRequest::parse("A10G"), LeaseOwner{});
    wait_until("its GPU is free", [&] { return waiter.try_grant().has_value(); });
    executor->close(0ms);
    executor.reset();
  }
}

TEST_F(ExecutorRetryTest, SingleUsePool_GivesEachCallAFreshWorker) {
  start("A10G:1");
  PoolOptions options;
  options.single_use = true;
  Pool* f = pool("A10G", options);
  std::set<std::string> pids;
  for (int i = 0; i < 3; ++i) pids.insert(call(f, "pid"));
  std::vector<CallPtr> many;
  for (int i = 0; i < 5; ++i) many.push_back(submit(f, "pid"));
  for (const auto& made : many) pids.insert(result(made));
  EXPECT_EQ(pids.size(), 8U);
}

}  // namespace
}  // namespace ionian
