#include "exec/process.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "base/syscall.hpp"
#include "ionian/error.hpp"
#include "support/run.hpp"

namespace ionian {
namespace {

std::string output_of(process::Program program) {
  auto [out, writer] = sys::pipe();
  program.stdout_fd = writer.get();
  const pid_t pid = process::start(program);
  writer.reset();
  std::string text;
  char buffer[4096];
  for (ssize_t size = 0; (size = ::read(out.get(), buffer, sizeof(buffer))) > 0;)
    text.append(buffer, static_cast<std::size_t>(size));
  ::waitpid(pid, nullptr, 0);
  return text;
}

TEST(Process, Program_GetsItsArgumentsEnvironmentAndDirectory_AndNoStrayDescriptor) {
  const UniqueFd stray = sys::event_fd();
  EXPECT_EQ(output_of({{"/bin/sh", "-c", "echo $A; pwd; ls /proc/self/fd | wc -l"},
                       {"A=b", "PATH=/usr/bin:/bin"},
                       "/"}),
            "b\n/\n4\n");  // 0 1 2 and the directory that ls reads
}

TEST(Process, NamedDescriptor_ArrivesAtItsNumber_AlsoWhenNumbersCross) {
  auto [a, b] = sys::pipe();
  ASSERT_EQ(::write(b.get(), "hi", 2), 2);
  b.reset();
  process::Program program{{"/bin/sh", "-c", "cat <&4"}, {"PATH=/usr/bin:/bin"}, ""};
  const UniqueFd other = sys::event_fd();
  program.fds = {{other.get(), 3}, {a.get(), 4}};
  EXPECT_EQ(output_of(program), "hi");
}

TEST(Process, ProgramThatDoesNotExist_IsAnErrorHereAndLeavesNoChild) {
  EXPECT_THROW(process::start({{"/no/such/program"}, {}, ""}), SystemError);
  EXPECT_TRUE(process::children().empty());
}

TEST(Process, ProgramWithoutAName_IsRefusedBeforeAnythingIsForked) {
  EXPECT_THROW(process::start({{}, {}, ""}), InvalidError);
  EXPECT_TRUE(process::children().empty());
}

TEST(Process, Variable_IsReplacedNotRepeated) {
  std::vector<std::string> env{"A=1", "AB=2", "A=3"};
  process::set_variable(env, "A", "9");
  EXPECT_EQ(env, (std::vector<std::string>{"AB=2", "A=9"}));
  EXPECT_EQ(process::variable(env, "A"), "9");
  EXPECT_EQ(process::variable(env, "B"), std::nullopt);
}

TEST(Process, Sweep_KillsWhatCarriesTheRun_AlsoNestedRuns_AndNothingElse) {
  const std::string run = process::random_id();
  const auto sleeper = [](const std::string& value) {
    return process::start(
        {{"/bin/sleep", "1000"}, {std::string(process::kRunVariable) + "=" + value}, ""});
  };
  const pid_t own = sleeper(run);
  const pid_t nested = sleeper(run + "/" + process::random_id());
  const pid_t other = sleeper(run + "x");
  EXPECT_EQ(process::find_by_variable(process::kRunVariable, run).size(), 2U);
  EXPECT_EQ(process::sweep(process::kRunVariable, run), 2U);
  EXPECT_EQ(::kill(other, 0), 0);
  ::kill(other, SIGKILL);
  for (const pid_t pid : {own, nested, other}) ::waitpid(pid, nullptr, 0);
}

TEST(Process, Sweep_KillsLaunchersOnlyWhenNobodyElseIsLeft) {
  const testing::TemporaryDirectory folder;
  const std::string launcher_program = folder.path(process::kLauncherName);
  std::filesystem::create_symlink("/bin/sleep", launcher_program);
  const std::string run = process::random_id();
  const std::vector<std::string> env{std::string(process::kRunVariable) + "=" + run};
  const pid_t launcher = process::start({{launcher_program, "1000"}, env, ""});
  const pid_t other = process::start({{"/bin/sleep", "1000"}, env, ""});
  EXPECT_EQ(process::sweep(process::kRunVariable, run, 1), 1U);
  ::waitpid(other, nullptr, 0);  // it ends, if sweep has not reaped it
  EXPECT_EQ(::kill(launcher, 0), 0);
  EXPECT_EQ(process::sweep(process::kRunVariable, run), 1U);
  ::waitpid(launcher, nullptr, 0);
}

TEST(Process, PidfdOfADeadProcess_SignalsNobody) {
  const pid_t pid = process::start({{"/bin/true"}, {}, ""});
  const UniqueFd pidfd = process::open_pidfd(pid);
  ::waitpid(pid, nullptr, 0);
  EXPECT_FALSE(process::send_signal(pidfd, SIGKILL));
}

}  // namespace
}  // namespace ionian
