// A whole run, struck once at each fault point in each way: its caller gets answers or errors of
// ours, nothing hangs, and afterwards nothing is left and every GPU can be had.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <set>

#include "base/fault.hpp"
#include "exec/process.hpp"
#include "ionian/lease.hpp"
#include "support/run.hpp"

#if IONIAN_FAULTS
namespace ionian {
namespace {

using namespace std::chrono_literals;
using testing::wait_until;

constexpr const char* kWorld = "IONIAN_TEST_WORLD";

/// Runs fault_run with faults, and looks at what it leaves.
class World {
 public:
  explicit World(const std::string& fault, const std::vector<std::string>& arguments = {})
      : id_(process::random_id()) {
    std::filesystem::create_directory(folder_.path("hits"));
    process::Program program;
    program.argv = {IONIAN_FAULT_RUN, IONIAN_GUARDIAN, IONIAN_SCRIPTED_LAUNCHER,
                    folder_.path("locks")};
    program.argv.insert(program.argv.end(), arguments.begin(), arguments.end());
    program.env = process::environment();
    process::set_variable(program.env, kWorld, id_);
    process::set_variable(program.env, "IONIAN_LOCK_DIR", folder_.path("locks"));
    process::set_variable(program.env, "IONIAN_FAULT", fault);
    process::set_variable(program.env, "IONIAN_FAULT_HITS", folder_.path("hits"));
    const UniqueFd output(::open(folder_.path("output").c_str(), O_WRONLY | O_CREAT, 0600));
    program.stdout_fd = program.stderr_fd = output.get();
    pid_ = process::start(program);
  }
  ~World() {
    if (pid_ > 0) end();
    process::sweep(kWorld, id_);
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  /// Waits for the program's end; returns its status, -1 if it does not come.
  int wait() {
    for (int i = 0; i < 40'000; ++i) {
      int status = 0;
      if (::waitpid(pid_, &status, WNOHANG) == pid_) {
        pid_ = 0;
        return status;
      }
      std::this_thread::sleep_for(1ms);
    }
    end();
    return -1;
  }

  [[nodiscard]] bool fired() const {
    for (const auto& name : hits()) {
      if (name.starts_with("fired.")) return true;
    }
    return false;
  }

  [[nodiscard]] std::set<std::string> hits() const {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path("hits")))
      names.insert(entry.path().filename().string());
    return names;
  }

  void signal_all(int signal) const {
    for (const pid_t pid : process::find_by_variable(kWorld, id_)) ::kill(pid, signal);
  }

  [[nodiscard]] std::string output() const {
    std::ifstream file(folder_.path("output"));
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

  /// No process, and both GPUs for whoever asks next.
  void audit() const {
    wait_until("no process is left",
               [&] { return process::find_by_variable(kWorld, id_).empty(); });
    InventoryOptions options;
    options.simulate = "A10G:2";
    LeaseBookOptions lease_options;
    lease_options.lock_dir = folder_.path("locks");
    LeaseBook book(read_inventory(options), lease_options);
    EXPECT_EQ(book.acquire(GpuRequest::parse("A10G:2"), this_process_as_owner("audit", "", ""), 5s)
                  .devices()
                  .size(),
              2U);
  }

 private:
  void end() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

  testing::TemporaryDirectory folder_;
  std::string id_;
  pid_t pid_ = 0;
};

/// Returns the points of all programs of the run.
std::vector<std::string> all_points() {
  World world("");
  EXPECT_EQ(world.wait(), 0) << world.output();
  std::vector<std::string> points;
  for (const auto& name : world.hits()) {
    if (name.starts_with("known.")) points.push_back(name.substr(6));
  }
  return points;
}

TEST(FaultPoint, EachIsReachedByTheRun) {
  const auto points = all_points();
  EXPECT_GE(points.size(), 45U);
  World world("");
  EXPECT_EQ(world.wait(), 0) << world.output();
  const auto hits = world.hits();
  for (const auto& point : points) EXPECT_TRUE(hits.contains(point)) << point;
  world.audit();
}

TEST(FaultPoint, NamesAreDifferent) {
  const auto points = fault::points();
  EXPECT_EQ(std::set<std::string>(points.begin(), points.end()).size(), points.size());
}

class FaultPointTest : public ::testing::TestWithParam<const char*> {};

TEST_P(FaultPointTest, StruckAnywhere_TheRunComesToAnEnd_AndLeavesNothing) {
  const std::string action = GetParam();
  for (const auto& point : all_points()) {
    SCOPED_TRACE("IONIAN_FAULT=" + point + ":1:" + action);
    World world(point + ":1:" + action);
    if (action == "stop") {
      // Whoever was stopped goes on later: nothing is lost by it.
      wait_until("it has stopped", [&] { return world.fired(); });
      std::this_thread::sleep_for(5ms);
      for (int i = 0; i < 3; ++i) {
        world.signal_all(SIGCONT);
        std::this_thread::sleep_for(2ms);
      }
    }
    const int status = world.wait();
    const bool killed = action == "crash" && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    EXPECT_TRUE(status == 0 || killed) << status << "\n" << world.output();
    EXPECT_TRUE(world.fired());
    world.audit();
    if (HasFailure()) break;
  }
}

INSTANTIATE_TEST_SUITE_P(Actions, FaultPointTest,
                         ::testing::Values("crash", "stop", "delay=20", "errno=12", "errno=24"),
                         [](const auto& action) {
                           std::string name = action.param;
                           std::erase(name, '=');
                           return name;
                         });

TEST(FaultPoint, GuardianKilledWhileItCleansUpAfterItsCaller_TheLauncherGoesOn) {
  World world("guardian.sweep:1:crash", {"die"});
  EXPECT_EQ(WTERMSIG(world.wait()), SIGKILL);
  world.audit();
  EXPECT_TRUE(world.fired());
}

// ---- a worker killed at each moment of a call
// ------------------------------------------------------

enum class Outcome { kAnswer, kStartedDeath };

struct Moment {
  const char* name;
  const char* fault;  // the setup is the first message of each worker, so calls come second
  Outcome outcome;
};

class KilledAt : public testing::RunTest, public ::testing::WithParamInterface<Moment> {};

TEST_P(KilledAt, FollowsTheTable) {
  const testing::TemporaryDirectory hits;
  ::setenv("IONIAN_FAULT", GetParam().fault, 1);
  ::setenv("IONIAN_FAULT_HITS", hits.path().c_str(), 1);
  start("A10G:1");
  ::unsetenv("IONIAN_FAULT");
  ::unsetenv("IONIAN_FAULT_HITS");
  Pool* f = pool("A10G");
  const std::string counter = locks.path("counter");
  try {
    call(f, "count " + counter);
    EXPECT_EQ(GetParam().outcome, Outcome::kAnswer);
  } catch (const WorkerDiedError& error) {
    EXPECT_EQ(GetParam().outcome, Outcome::kStartedDeath) << error.what();
    EXPECT_TRUE(error.death.started);
    EXPECT_EQ(error.death.signal, SIGKILL);
  }
  EXPECT_LE(testing::file_size(counter), 1U) << "a body is entered once";
  EXPECT_EQ(call(f, "echo next"), "next");
  EXPECT_FALSE(std::filesystem::is_empty(hits.path()));
}

INSTANTIATE_TEST_SUITE_P(
    Moments, KilledAt,
    ::testing::Values(Moment{"BeforeItIsReady", "worker.made:1:crash", Outcome::kAnswer},
                      Moment{"WhileItLoadsTheFunction", "channel.reply:1:crash", Outcome::kAnswer},
                      Moment{"ReadyButNotStarted", "channel.start:1:crash", Outcome::kAnswer},
                      Moment{"Started", "channel.started:1:crash", Outcome::kStartedDeath},
                      Moment{"WhileItAnswers", "channel.reply:1:crash:1:1", Outcome::kStartedDeath},
                      Moment{"Answered", "channel.replied:1:crash:1:1", Outcome::kAnswer}),
    [](const auto& moment) { return std::string(moment.param.name); });

// ---- a kernel that does not say when locks change
// -------------------------------------------------

class BlindTest : public testing::RunTest {};

TEST_F(BlindTest, IdleWorkerGivesWay_AlsoWhereNoInotifyWatchIsLeft) {
  const testing::TemporaryDirectory hits;
  ::setenv("IONIAN_FAULT", "lease.watch:1:errno=24:1000", 1);
  ::setenv("IONIAN_FAULT_HITS", hits.path().c_str(), 1);
  start("A10G:2");
  ::unsetenv("IONIAN_FAULT");
  ::unsetenv("IONIAN_FAULT_HITS");
  EXPECT_EQ(call(pool("A10G"), "echo one"), "one");
  PoolOptions options;
  options.name = "both";
  EXPECT_EQ(call(pool("A10G:2", options), "echo both"), "both");
  EXPECT_FALSE(std::filesystem::is_empty(hits.path()));
}

// ---- what is struck and comes again
// --------------------------------------------------------------------------

class StruckRunTest : public testing::RunTest {
 protected:
  void start_with(const std::string& fault, const std::string& gpus,
                  const std::string& launcher_setup = "") {
    ::setenv("IONIAN_FAULT", fault.c_str(), 1);
    ::setenv("IONIAN_FAULT_HITS", hits.path().c_str(), 1);
    start(gpus, launcher_setup);
  }
  void TearDown() override {
    ::unsetenv("IONIAN_FAULT");
    ::unsetenv("IONIAN_FAULT_HITS");
    RunTest::TearDown();
  }
  [[nodiscard]] bool fired() const {
    const std::filesystem::directory_iterator files(hits.path());
    return std::any_of(begin(files), end(files), [](const auto& file) {
      return file.path().filename().string().starts_with("fired.");
    });
  }
  testing::TemporaryDirectory hits;
};

TEST_F(StruckRunTest, GuardianThatDiesEachTime_IsGivenUp_AndTheCallFails) {
  start_with("guardian.worker_ordered:1:crash:1000", "A10G:1");
  EXPECT_TRUE(error_of(submit(pool("A10G"), "echo x")).starts_with("CrashLoopError"));
}

TEST_F(StruckRunTest, LauncherThatCannotBeStartedAgain_FailsWhatStillWaits_WhenTheLastWorkerEnds) {
  start_with("guardian.start_launcher:1:errno=11:1:1", "A10G:1");
  PoolOptions options;
  options.max_containers = 1;
  Pool* f = pool("A10G", options);
  const auto worker = static_cast<pid_t>(std::stol(call(f, "pid")));
  const CallPtr running = submit(f, "touch " + locks.path("running"));
  wait_until("it runs", [&] { return testing::file_size(locks.path("running")) == 1; });
  const CallPtr waiting = submit(f, "echo waiting");
  ::kill(find_process("ionian-launcher"), SIGKILL);
  wait_until("it could not be started again", [&] { return fired(); });
  ::kill(worker, SIGKILL);
  EXPECT_NE(error_of(running), "");
  EXPECT_NE(error_of(waiting), "");
}

TEST_F(StruckRunTest, LauncherThatFailsWhileTheGuardianIsBusy_IsHeardBeforeItsEndIsSeen) {
  start_with("guardian.worker_ordered:1:delay=700", "A10G:1", "fail boom");
  EXPECT_NE(error_of(submit(pool("A10G"), "echo x")).find("boom"), std::string::npos);
}

class UnwantedWorkerTest : public StruckRunTest,
                           public ::testing::WithParamInterface<const char*> {};

TEST_P(UnwantedWorkerTest, GivesItsGpuBack_AlsoIfItHasJustBeenStarted) {
  start_with("guardian.leased:1:delay=500", "A10G:1", GetParam());
  call(pool(), "echo x");  // its launcher is ready
  const auto processes = [&] {
    return process::find_by_variable(process::kRunVariable, executor->run_id()).size();
  };
  const std::size_t before = processes();
  PoolOptions on_gpu;
  on_gpu.name = "g";
  const CallPtr call = submit(pool("A10G", on_gpu), "echo x");
  LeaseBookOptions book_options;
  book_options.lock_dir = locks.path();
  InventoryOptions options;
  options.simulate = "A10G:1";
  LeaseBook book(read_inventory(options), book_options);
  wait_until("it is leased", [&] { return !book.leases().empty(); });
  executor->cancel(call, false);
  wait_until("its GPU is free", [&] { return book.leases().empty(); });
  wait_until("it has ended", [&] { return processes() == before; });
}

INSTANTIATE_TEST_SUITE_P(Started, UnwantedWorkerTest, ::testing::Values("", "afresh"),
                         [](const auto& each) {
                           return *each.param == 0 ? "ByTheLauncher" : "ByTheGuardian";
                         });

}  // namespace
}  // namespace ionian
#endif
