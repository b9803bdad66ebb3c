// What the caller sees, and what is left, when something dies. Each test ends with RunTest's audit.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/wait.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>
#include <vector>

#include "support/run.hpp"

namespace ionian {
namespace {

using testing::RunTest;
using testing::wait_until;
using namespace std::chrono_literals;

class ExecutorFaultTest : public RunTest {
 protected:
  /// Returns the death that a call ends with.
  WorkerDeath death_of(const CallPtr& made) {
    try {
      result(made);
    } catch (const WorkerDiedError& error) {
      return error.death;
    }
    ADD_FAILURE() << "the call did not fail";
    return {};
  }

  CallPtr submit_with_buffer(Pool* pool, const std::string& text) {
    const std::vector<std::byte> data(256, std::byte{1});
    const std::vector<std::span<const std::byte>> buffers{data};
    return executor->submit(pool, {std::as_bytes(std::span(text)), buffers});
  }

  static pid_t parent_of(const std::string& pid) {
    std::ifstream stat("/proc/" + pid + "/stat");
    std::string ignored;
    pid_t parent = 0;
    stat >> ignored >> ignored >> ignored >> parent;
    return parent;
  }
};

TEST_F(ExecutorFaultTest, RaisedFailure_LeavesTheWorkerWarm) {
  start();
  Pool* f = pool("A10G");
  const std::string pid = call(f, "pid");
  const CallPtr raised = submit(f, "raise oh no");
  EXPECT_EQ(result(raised), "oh no");
  EXPECT_EQ(raised->reply->code, static_cast<std::uint32_t>(ReplyStatus::kRaised));
  EXPECT_EQ(call(f, "pid"), pid);
}

TEST_F(ExecutorFaultTest, WorkerThatEndsInTheBody_FailsItsCallWithTheCause_AndThePoolGoesOn) {
  start("A10G:1");
  Pool* f = pool("A10G");
  struct Row {
    const char* does;
    int signal;
    int exit_code;
  };
  for (const Row& row : {Row{"kill 9", SIGKILL, -1}, Row{"kill 11", SIGSEGV, -1},
                         Row{"kill 6", SIGABRT, -1}, Row{"exit 3", 0, 3}, Row{"exit 0", 0, 0}}) {
    const WorkerDeath death = death_of(submit(f, row.does));
    EXPECT_EQ(death.signal, row.signal) << row.does;
    EXPECT_EQ(death.exit_code, row.exit_code) << row.does;
    EXPECT_TRUE(death.started) << row.does;
    EXPECT_EQ(death.gpus.size(), 1U) << row.does;
    EXPECT_EQ(call(f, "echo next"), "next") << row.does;
  }
}

TEST_F(ExecutorFaultTest, LastLine_IsInTheErrorOfADeadWorker) {
  start();
  Pool* f = pool();
  call(f, "print last words");
  EXPECT_NE(death_of(submit(f, "kill 9")).log_tail.find("last words"), std::string::npos);
}

TEST_F(ExecutorFaultTest, CallsBehindADeadOne_AreRunByAnotherWorker_EachBodyOnce) {
  start();
  Pool* f = prefetching_pool(0, 1);
  const std::string counter = locks.path("counter");
  const CallPtr dies = submit(f, "kill 9");
  std::vector<CallPtr> behind;
  for (int i = 0; i < 40; ++i) behind.push_back(submit(f, "count " + counter));
  EXPECT_TRUE(death_of(dies).started);
  for (const auto& made : behind) result(made);
  EXPECT_EQ(testing::file_size(counter), 40U);
}

TEST_F(ExecutorFaultTest, WorkerThatWroteOverTheNextCallsMemoryAndDied_FailsBoth_AndThePoolGoesOn) {
  start();
  Pool* f = prefetching_pool(0, 1);
  const std::string gate = locks.path("gate");
  const CallPtr dies = submit_with_buffer(f, "overrun " + gate + " 0");
  const CallPtr behind = submit_with_buffer(f, "buffers");
  std::ofstream(gate) << "open";
  EXPECT_TRUE(death_of(dies).started);
  EXPECT_NE(error_of(behind).find("which wrote over it"), std::string::npos) << error_of(behind);
  EXPECT_EQ(call(f, "echo next"), "next");
}

TEST_F(ExecutorFaultTest, WorkerThatWroteOverTheNextCallsMemory_FailsThatCallWhenItIsMoved) {
  start();
  Pool* f = prefetching_pool(2, 2);
  const std::string gate = locks.path("gate");
  const CallPtr overruns = submit_with_buffer(f, "overrun " + gate + " 60000");
  const CallPtr other = submit_with_buffer(f, "touch " + locks.path("runs"));
  wait_until("both run", [&] {
    return testing::file_size(locks.path("runs")) == 1 && testing::file_size(gate + ".runs") == 1;
  });
  const CallPtr behind = submit_with_buffer(f, "buffers");  // behind the first, as nobody is idle
  std::ofstream(gate) << "open";
  wait_until("it is overwritten", [&] { return ::access((gate + ".done").c_str(), F_OK) == 0; });
  executor->cancel(other, false);
  EXPECT_NE(error_of(behind).find("which wrote over it"), std::string::npos);
  EXPECT_EQ(call(f, "echo next"), "next");
  executor->cancel(overruns, true);
}

TEST_F(ExecutorFaultTest, ChildThatPrintsForEver_DoesNotKeepTheGuardianFromTheOthers) {
  start();
  EXPECT_EQ(death_of(submit(pool(), "scream")).exit_code, 3);
  EXPECT_EQ(call(pool(), "echo next"), "next");
}

TEST_F(ExecutorFaultTest, CallerThatIsSlowToRead_GetsTheLastOutputWhole) {
  constexpr int lines = 700;  // more than a socket takes at once, less than the guardian keeps
  const std::string gate = locks.path("gate");
  const pid_t client = ::fork();
  if (client == 0) {
    start();
    std::ofstream(locks.path("run")) << executor->run_id() << std::flush;
    submit(pool(), "flood " + std::to_string(lines) + " " + gate);
    int heard = 0;
    bool closed = false;
    for (const auto limit = sys::Clock::now() + 15s; heard < lines && sys::Clock::now() < limit;) {
      const auto event = executor->next_event(sys::Clock::now() + 100ms, closed);
      if (event && event->kind == ExecutorEvent::Kind::kStdout) ++heard;
    }
    executor.reset();
    ::_exit(heard == lines ? 0 : 1);
  }
  wait_until("it runs", [&] { return ::access((gate + ".runs").c_str(), F_OK) == 0; });
  std::string run;
  std::ifstream(locks.path("run")) >> run;
  ::kill(client, SIGSTOP);
  std::ofstream(gate) << "open";
  wait_until("all is printed", [&] { return ::access((gate + ".done").c_str(), F_OK) == 0; });
  const pid_t guardian_pid = find_process("ionian-guardian", run);
  ::kill(guardian_pid, SIGINT);
  wait_until("the others have ended", [&] {
    return process::find_by_variable(process::kRunVariable, run) ==
               std::vector<pid_t>{guardian_pid} ||
           process::find_by_variable(process::kRunVariable, run).empty();
  });
  ::kill(client, SIGCONT);
  int status = 0;
  ::waitpid(client, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(ExecutorFaultTest, WorkerThatDiesReadingItsArguments_IsReplacedThreeTimesAtMost) {
  start();
  Pool* f = pool();
  const WorkerDeath death = death_of(submit(f, "die-unpickling"));
  EXPECT_FALSE(death.started);
  EXPECT_EQ(death.exit_code, 9);
  EXPECT_EQ(call(f, "echo next"), "next");
}

TEST_F(ExecutorFaultTest, FunctionThatCannotBeLoaded_FailsTheCallWithItsText) {
  start();
  PoolOptions options;
  options.setup = "fail no such function";
  try {
    call(pool("", options), "echo x");
    FAIL();
  } catch (const WorkerStartError& error) {
    EXPECT_NE(std::string(error.what()).find("no such function"), std::string::npos)
        << error.what();
  }
}

TEST_F(ExecutorFaultTest, ModuleThatCannotBeImported_FailsEveryCallWithItsText) {
  start("A10G:1", "fail ImportError: torch");
  Pool* f = pool();
  EXPECT_THROW(call(f, "echo x"), WorkerStartError);
  EXPECT_THROW(call(f, "echo x"), WorkerStartError);
}

TEST_F(ExecutorFaultTest, Timeout_EndsTheCallAndItsWorker_AndThePoolGoesOn) {
  start("A10G:1");
  PoolOptions options;
  options.timeout = 50ms;
  Pool* f = pool("A10G", options);
  EXPECT_THROW(call(f, "sleep 60000"), FunctionTimeoutError);
  EXPECT_EQ(call(f, "echo next"), "next");
}

TEST_F(ExecutorFaultTest, CancelledCall_FailsAtOnce_QueuedOrRunning) {
  start("A10G:1");
  Pool* f = pool("A10G");
  const CallPtr running = submit(f, "touch " + locks.path("running"));
  wait_until("it runs", [&] { return testing::file_size(locks.path("running")) == 1; });
  const CallPtr queued = submit(f, "echo never");
  executor->cancel(queued, false);
  EXPECT_THROW(result(queued), RemoteError);
  executor->cancel(running, true);
  EXPECT_THROW(result(running), RemoteError);
  EXPECT_EQ(call(f, "echo next"), "next");
}

TEST_F(ExecutorFaultTest, ProcessThatAFunctionLeftBehind_IsGoneWithTheRun) {
  start();
  call(pool(), "spawn");
  // TearDown finds it if it is not.
}

TEST_F(ExecutorFaultTest, GuardianKilled_FailsTheCall_AndTheNextOneGetsANewGuardian) {
  start("A10G:1");
  Pool* f = pool("A10G");
  const CallPtr running = submit(f, "touch " + locks.path("running"));
  wait_until("it runs", [&] { return testing::file_size(locks.path("running")) == 1; });
  ::kill(find_process("ionian-guardian"), SIGKILL);
  EXPECT_NE(death_of(running).cause.find("guardian"), std::string::npos);
  EXPECT_EQ(call(f, "echo next"), "next");
}

TEST_F(ExecutorFaultTest, GuardianKilled_LeavesTheProgramsOwnChildrenToTheProgram) {
  start("A10G:1");
  Pool* f = pool("A10G");
  call(f, "spawn");
  const pid_t child = process::start({{"/bin/sh", "-c", "exit 3"}, {}, ""});
  siginfo_t ended{};
  ::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT);
  const CallPtr running = submit(f, "touch " + locks.path("running"));
  wait_until("it runs", [&] { return testing::file_size(locks.path("running")) == 1; });
  ::kill(find_process("ionian-guardian"), SIGKILL);
  death_of(running);
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 3);
}

TEST_F(ExecutorFaultTest, BookThatSomebodyHoldsTooLong_CostsARunThatHasItsGpusNothing) {
  start("A10G:1");
  Pool* f = pool("A10G");
  call(f, "echo warm");
  const CallPtr running = submit(f, "sleep 4000");
  const UniqueFd book(::open(locks.path("book").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  ASSERT_EQ(::flock(book.get(), LOCK_EX), 0);
  // A change in the lock directory has the guardian look who waits.
  UniqueFd(::open(locks.path("change").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666)).reset();
  EXPECT_NO_THROW(result(running));
}

TEST_F(ExecutorFaultTest, GuardianAndLauncherKilledWhileTheRunCloses_LeaveNothing) {
  start("A10G:1");
  Pool* f = pool("A10G");
  call(f, "spawn");
  const pid_t parent = parent_of(call(f, "pid"));
  const pid_t guardian = find_process("ionian-guardian");
  ::kill(guardian, SIGSTOP);
  std::thread closer([&] { executor->close(0ms); });
  wait_until("the run closes", [&] {
    try {
      submit(f, "echo x");
      return false;
    } catch (const ExecutionError&) {
      return true;
    }
  });
  ::kill(parent, SIGKILL);
  ::kill(guardian, SIGKILL);
  closer.join();
  EXPECT_TRUE(process::find_by_variable(process::kRunVariable, executor->run_id()).empty());
}

TEST_F(ExecutorFaultTest, LauncherKilled_LeavesItsWorkersRunning) {
  start("A10G:1");
  Pool* f = pool("A10G");
  EXPECT_EQ(call(f, "echo x"), "x");
  const std::string worker = call(f, "pid");
  ::kill(parent_of(worker), SIGKILL);
  EXPECT_EQ(call(f, "pid"), worker);
}

TEST_F(ExecutorFaultTest, CloseWithACallRunning_FailsItAndLeavesNothing) {
  start("A10G:1");
  Pool* f = pool("A10G");
  const CallPtr running = submit(f, "touch " + locks.path("running"));
  wait_until("it runs", [&] { return testing::file_size(locks.path("running")) == 1; });
  executor->close(100ms);
  EXPECT_THROW(result(running), ExecutionError);
}

TEST_F(ExecutorFaultTest, CallerKilled_LeavesNoProcessAndNoLock) {
  const std::string marker = locks.path("running");
  const pid_t child = ::fork();
  if (child == 0) {
    start("A10G:1");
    Pool* f = pool("A10G");
    std::ofstream(locks.path("run")) << executor->run_id() << std::flush;
    submit(f, "spawn");
    submit(f, "touch " + marker);
    for (;;) ::pause();
  }
  wait_until("its call runs", [&] { return testing::file_size(marker) == 1; });
  std::string run;
  std::ifstream(locks.path("run")) >> run;
  EXPECT_FALSE(process::find_by_variable(process::kRunVariable, run).empty());
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  wait_until("nothing of the run is left",
             [&] { return process::find_by_variable(process::kRunVariable, run).empty(); });
  start("A10G:1");
  EXPECT_EQ(call(pool("A10G"), "echo fresh"), "fresh");
}

TEST_F(ExecutorFaultTest, HandleUsedInAForkedChild_IsAnErrorThere_AndTheParentGoesOn) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the thread sanitizer cannot follow a fork of a process with threads";
#endif
  start();
  Pool* f = pool();
  const auto group = std::make_shared<CallGroup>();
  const CallPtr done = submit(f, "echo x", group);
  EXPECT_EQ(result(done), "x");
  const std::vector<std::function<void()>> uses{
      [&] { submit(f, "echo x"); },
      [&] { executor->wait(*done, sys::Clock::now()); },
      [&] { executor->take(*group, 1); },
      [&] { executor->watch(done, 0); },
      [&] { executor->unwatch(done, 0); },
      [&] { executor->cancel(done, false); },
      [&] { static_cast<void>(executor->workers(f)); },
      [&] { static_cast<void>(executor->queued(f)); },
      [&] { executor->inventory(); },
      [&] { executor->start_launcher({}); },
      [&] { pool(); },
      [&] { executor->stop(); },
  };
  // A child often gets the executor's lock as this thread held it, and nobody gives it back there.
  std::atomic<bool> end = false;
  std::thread inside([&] {
    while (!end) static_cast<void>(executor->workers(f));
  });
  for (int round = 0; round < 50 && !HasFailure(); ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(10);
      for (std::size_t i = 0; i < uses.size(); ++i) {
        try {
          uses[i]();
          ::_exit(static_cast<int>(i));
        } catch (const ExecutionError&) {
        }
      }
      executor->close(0ms);
      bool closed = false;
      ::_exit(!executor->next_event(sys::TimePoint::max(), closed) && closed ? 42 : 43);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status)) << "the child hung: signal " << WTERMSIG(status);
    EXPECT_EQ(WEXITSTATUS(status), 42) << "of that use the child heard nothing";
  }
  end = true;
  inside.join();
  EXPECT_EQ(call(f, "echo still"), "still");
}

}  // namespace
}  // namespace ionian
