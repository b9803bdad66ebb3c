#include "exec/orphans.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <csignal>

#include "exec/process.hpp"
#include "support/run.hpp"

namespace ionian {
namespace {

using orphans::Seen;
using Pids = std::vector<pid_t>;

struct Row {
  const char* states;
  std::vector<Seen> processes;
  std::string own;
  Pids chosen;
};

class OrphansTest : public ::testing::TestWithParam<Row> {};

TEST_P(OrphansTest, Choose) {
  EXPECT_EQ(orphans::choose(GetParam().processes, GetParam().own), GetParam().chosen);
}

INSTANTIATE_TEST_SUITE_P(
    Table, OrphansTest,
    ::testing::Values(
        Row{"NothingIsFound", {}, "me", {}},
        Row{"AGuardianLives", {{1, "a", true}, {2, "a"}}, "me", {}},
        Row{"AGuardianIsGone", {{1, "a", true}, {2, "b"}, {3, "b"}}, "me", {2, 3}},
        Row{"AnOuterGuardianIsGone", {{1, "a/b", true}, {2, "a/b"}}, "me", {1, 2}},
        Row{"AnInnerGuardianIsGone", {{1, "a", true}, {2, "a"}, {3, "a/b"}}, "me", {3}},
        Row{"OwnRunsCountAsAlive", {{1, "a"}, {2, "a/me"}, {3, "x"}}, "a/me", {3}},
        Row{"ARunIsNotItsNextGuardians", {{1, "a-1", true}, {2, "a"}}, "me", {2}},
        Row{"AnEmptyPartIsNobodys", {{1, "/"}, {2, ""}}, "", {}}),
    [](const auto& row) { return std::string(row.param.states); });

pid_t sleeper(const std::string& run, const std::string& lock_dir) {
  std::vector<std::string> env{"IONIAN_LOCK_DIR=" + lock_dir};
  if (!run.empty()) env.push_back(std::string(process::kRunVariable) + "=" + run);
  return process::start({{"/bin/sleep", "1000"}, env, ""});
}

/// Waits for a child; returns the signal that ended it, 0 if it lives.
int ended_by(pid_t pid) {
  int status = 0;
  if (::waitpid(pid, &status, WNOHANG) == 0) return 0;
  return WIFSIGNALED(status) ? WTERMSIG(status) : -1;
}

TEST(Orphans, End_KillsWhatIsLeftOfADeadRun_AndNothingOfOthers) {
  const testing::TemporaryDirectory locks;
  ::setenv("IONIAN_LOCK_DIR", locks.path().c_str(), 1);
  const std::string dead = process::random_id();
  const pid_t left = sleeper(dead, locks.path());
  const pid_t ours = sleeper("mine", locks.path());
  const pid_t elsewhere = sleeper(dead, locks.path() + "-other");
  const pid_t without = sleeper("", locks.path());
  EXPECT_GE(orphans::end("outer/mine"), 1U);
  testing::wait_until("it is dead", [&] { return ended_by(left) == SIGKILL; });
  for (const pid_t pid : {ours, elsewhere, without}) {
    EXPECT_EQ(ended_by(pid), 0);
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  ::unsetenv("IONIAN_LOCK_DIR");
}

}  // namespace
}  // namespace ionian
