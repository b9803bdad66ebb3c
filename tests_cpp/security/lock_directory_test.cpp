// The lock directory is the one place that users share: whatever somebody else put there is
// refused, and what they do to a lock file costs nobody else a file or a hang.
#include "lease/lock_directory.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "ionian/error.hpp"
#include "support/temporary_directory.hpp"

namespace ionian {
namespace {

namespace fs = std::filesystem;
using testing::TemporaryDirectory;

constexpr uid_t kStranger = 12345;

struct Squat {
  std::string name;
  bool as_root;  // can only be made by root
  std::function<void(const std::string& path)> make;
};

void make(const std::string& path, mode_t mode, bool theirs = false) {
  fs::create_directory(path);
  ASSERT_EQ(::chmod(path.c_str(), mode), 0);
  if (!theirs) return;
  ASSERT_EQ(::chown(path.c_str(), kStranger, kStranger), 0);
}

TEST(LockDirectory, ThatSomebodyElseCouldChange_IsRefused) {
  for (const Squat& squat : {
           Squat{"a symbolic link", false,
                 [](const std::string& path) {
                   fs::create_directory(path + ".real");
                   fs::create_directory_symlink(path + ".real", path);
                 }},
           Squat{"a link to nothing", false,
                 [](const std::string& path) { fs::create_symlink(path + ".nothing", path); }},
           Squat{"a file", false, [](const std::string& path) { std::ofstream(path) << "x"; }},
           Squat{"a FIFO", false,
                 [](const std::string& path) { ASSERT_EQ(::mkfifo(path.c_str(), 0666), 0); }},
           Squat{"ours, for everybody to write, not sticky", false,
                 [](const std::string& path) { make(path, 0777); }},
           Squat{"another user's", true, [](const std::string& path) { make(path, 0700, true); }},
           Squat{"another user's, for everybody to write", true,
                 [](const std::string& path) { make(path, 0777, true); }},
       }) {
    if (squat.as_root && ::geteuid() != 0) continue;
    for (const bool shared : {false, true}) {
      SCOPED_TRACE(squat.name + (shared ? ", shared" : ""));
      const TemporaryDirectory root;
      squat.make(root.path("locks"));
      EXPECT_THROW(LockDirectory(root.path("locks"), shared), PermissionDeniedError);
    }
  }
}

TEST(LockDirectory, StickyOrOursAlone_IsAccepted) {
  for (const mode_t mode : {0700U, 0755U, 01777U}) {
    const TemporaryDirectory root;
    make(root.path("locks"), mode);
    EXPECT_NO_THROW(LockDirectory(root.path("locks"), false)) << std::oct << mode;
  }
}

TEST(LockFile, ThatIsALinkOrNoPlainFile_IsRefused_AndWhatItNamesStaysAsItIs) {
  struct Case {
    std::string name;
    std::function<void(const std::string& lock, const std::string& victim)> make;
  };
  for (const Case& each : {
           Case{"symbolic link",
                [](const auto&lock, const auto&victim) { fs::create_symlink(victim, lock); }},
           Case{"hard link",
                [](const auto&lock, const auto&victim) { fs::create_hard_link(victim, lock); }},
           Case{"FIFO",
                [](const auto&lock, const auto&) { ASSERT_EQ(::mkfifo(lock.c_str(), 0666), 0); }},
           Case{"directory", [](const auto&lock, const auto&) { fs::create_directory(lock); }},
       }) {
    SCOPED_TRACE(each.name);
    const TemporaryDirectory root;
    LockDirectory locks(root.path("locks"), false);
    std::ofstream(root.path("victim")) << "precious";
    each.make(root.path("locks/x"), root.path("victim"));
    EXPECT_THROW(static_cast<void>(locks.try_lock("x")), Error);
    EXPECT_TRUE(locks.try_lock("y")) << "the others can be taken";
    std::string text;
    std::ifstream(root.path("victim")) >> text;
    EXPECT_EQ(text, "precious");
  }
}

TEST(LockFile, ThatMayNotBeOpened_IsAnErrorThatNamesIt) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can make another user's file";
  const TemporaryDirectory root;
  ASSERT_EQ(::chmod(root.path().c_str(), 0755), 0);
  LockDirectory shared(root.path("locks"), true);
  ASSERT_TRUE(shared.try_lock("x"));
  ASSERT_EQ(::chmod(root.path("locks/x").c_str(), 0), 0);
  const std::string path = root.path("locks");
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setgid(kStranger) != 0 || ::setuid(kStranger) != 0) ::_exit(99);
    LockDirectory locks(path, true);
    try {
      static_cast<void>(locks.try_lock("x"));
      ::_exit(1);
    } catch (const PermissionDeniedError& error) {
      if (std::string(error.what()).find(path + "/x") == std::string::npos) ::_exit(2);
    }
    ::_exit(locks.try_lock("y") ? 0 : 3);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(LockFile, ReplacedWhileItIsHeld_IsHeldByNobodyTwice) {
  const TemporaryDirectory root;
  LockDirectory locks(root.path("locks"), false);
  const LockFile old = locks.try_lock("x");
  std::ofstream(root.path("locks/new")) << "";
  fs::rename(root.path("locks/new"), root.path("locks/x"));
  const LockFile fresh = locks.try_lock("x");
  ASSERT_TRUE(fresh) << "the file that has the name is the lock";
  EXPECT_FALSE(LockDirectory(root.path("locks"), false).try_lock("x"));
}

}  // namespace
}  // namespace ionian
