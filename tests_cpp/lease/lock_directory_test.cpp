#include "lease/lock_directory.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>
#include <vector>

#include "ionian/error.hpp"
#include "support/temporary_directory.hpp"

namespace ionian {
namespace {

using namespace std::chrono_literals;
using testing::TemporaryDirectory;

mode_t mode_of(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(::stat(path.c_str(), &info), 0);
  return info.st_mode & 07777;
}

TEST(LockDirectory, IsMadePrivate_AndSharedOnlyWhenAsked) {
  const TemporaryDirectory root;
  const LockDirectory own(root.path("own"), false);
  const LockDirectory shared(root.path("shared"), true);
  EXPECT_EQ(mode_of(root.path("own")), 0700U);
  EXPECT_EQ(mode_of(root.path("shared")), 01777U);
}

TEST(LockDirectory, ALinkOrAFileInItsPlaceIsRefused) {
  const TemporaryDirectory root;
  std::filesystem::create_directory(root.path("real"));
  std::filesystem::create_directory_symlink(root.path("real"), root.path("link"));
  std::ofstream(root.path("file")) << "x";
  EXPECT_THROW(LockDirectory(root.path("link"), false), PermissionDeniedError);
  EXPECT_THROW(LockDirectory(root.path("file"), false), PermissionDeniedError);
}

TEST(LockDirectory, AnotherUsersDirectoryWithoutTheStickyBitIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can make another user's directory";
  const TemporaryDirectory root;
  std::filesystem::create_directory(root.path("theirs"));
  ASSERT_EQ(::chown(root.path("theirs").c_str(), 12345, 12345), 0);
  ASSERT_EQ(::chmod(root.path("theirs").c_str(), 0777), 0);
  EXPECT_THROW(LockDirectory(root.path("theirs"), false), PermissionDeniedError);
  ASSERT_EQ(::chmod(root.path("theirs").c_str(), 01777), 0);
  EXPECT_NO_THROW(LockDirectory(root.path("theirs"), false));
}

TEST(LockDirectory, OneHolderAtATime) {
  const TemporaryDirectory root;
  LockDirectory a(root.path("locks"), false);
  LockDirectory b(root.path("locks"), false);
  EXPECT_FALSE(a.is_held("x"));
  LockFile held = a.try_lock("x");
  ASSERT_TRUE(held);
  EXPECT_TRUE(b.is_held("x"));
  EXPECT_FALSE(b.try_lock("x"));
  held.reset();
  EXPECT_FALSE(b.is_held("x"));
  EXPECT_TRUE(b.try_lock("x"));
}

TEST(LockDirectory, AHolderThatIsKilledLetsGo_AndTheWatchSaysSo) {
  const TemporaryDirectory root;
  LockDirectory locks(root.path("locks"), false);
  const pid_t child = ::fork();
  if (child == 0) {
    const LockFile held = LockDirectory(root.path("locks"), false).try_lock("x");
    ::pause();
    ::_exit(0);
  }
  while (!locks.is_held("x")) ::usleep(1000);
  pollfd watch{locks.watch(), POLLIN, 0};
  locks.drain();
  ::kill(child, SIGKILL);
  ASSERT_EQ(::poll(&watch, 1, 5000), 1) << "no event when the holder was killed";
  ::waitpid(child, nullptr, 0);
  EXPECT_FALSE(locks.is_held("x"));
}

/// Does nothing until it is killed, or the test ends.
[[noreturn]] void idle() {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (;;) ::pause();
}

pid_t idle_child() {
  const pid_t child = ::fork();
  if (child == 0) idle();
  return child;
}

void end(pid_t child) {
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

TEST(LockDirectory,
     AProcessForkedFromTheHolder_KeepsNothingThatTheHolderReleases_AndTheWatchSaysSo) {
  const TemporaryDirectory root;
  LockDirectory locks(root.path("locks"), false);
  LockFile held = locks.try_lock("x");
  LockFile book = locks.lock_briefly("book", 1s);
  pollfd watch{locks.watch(), POLLIN, 0};
  const pid_t child = idle_child();
  EXPECT_TRUE(locks.is_held("x")) << "the child has not taken it away either";
  locks.drain();
  held.reset();
  book.reset();
  EXPECT_EQ(::poll(&watch, 1, 5000), 1) << "no event when the holder released it";
  EXPECT_TRUE(locks.try_lock("x"));
  EXPECT_TRUE(locks.lock_briefly("book", 20ms));
  end(child);
}

TEST(LockDirectory, AProcessMadeWithoutFork_KeepsNothingThatTheHolderReleases) {
  const TemporaryDirectory root;
  LockDirectory locks(root.path("locks"), false);
  LockFile held = locks.try_lock("x");
  const auto without_fork = [](const std::function<void()>& body) {
    const auto child = static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
    if (child == 0) body();
    return child;
  };
  const pid_t closes = without_fork([&] {
    held.reset();
    ::_exit(0);
  });
  ::waitpid(closes, nullptr, 0);
  EXPECT_TRUE(locks.is_held("x")) << "a child's copy is not its parent's lock";
  const pid_t keeps = without_fork(idle);
  held.reset();
  EXPECT_TRUE(locks.try_lock("x"));
  end(keeps);
}

TEST(LockDirectory, AProcessForkedFromTheHolder_KeepsNothingWhenTheHolderIsKilled) {
  const TemporaryDirectory root;
  LockDirectory locks(root.path("locks"), false);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t holder = ::fork();
  if (holder == 0) {
    const LockFile held = LockDirectory(root.path("locks"), false).try_lock("x");
    const pid_t child = idle_child();
    if (::write(ends[1], &child, sizeof child) != sizeof child) ::_exit(1);
    for (;;) ::pause();
  }
  pid_t child = 0;
  ASSERT_EQ(::read(ends[0], &child, sizeof child), static_cast<ssize_t>(sizeof child));
  ::close(ends[0]);
  ::close(ends[1]);
  EXPECT_TRUE(locks.is_held("x"));
  end(holder);
  // The child may not have come as far as to let go.
  for (int i = 0; i < 5000 && locks.is_held("x"); ++i) ::usleep(1000);
  EXPECT_FALSE(locks.is_held("x"));
  ::kill(child, SIGKILL);
}

TEST(LockDirectory, AForkBesideThreadsThatLook_LeavesNothingLocked) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the thread sanitizer cannot follow a fork of a process with threads";
#endif
  const TemporaryDirectory root;
  LockDirectory locks(root.path("locks"), false);
  { const LockFile made = locks.try_lock("x"); }
  std::atomic<bool> stop{false};
  std::thread looker([&] {
    LockDirectory own(root.path("locks"), false);
    while (!stop) static_cast<void>(own.is_held("x"));
  });
  std::vector<pid_t> children;
  for (int i = 0; i < 100; ++i) children.push_back(idle_child());
  stop = true;
  looker.join();
  for (int i = 0; i < 5000 && locks.is_held("x"); ++i) ::usleep(1000);
  EXPECT_FALSE(locks.is_held("x"));
  for (const pid_t child : children) end(child);
}

TEST(LockDirectory, AForkedChildOwnsNothing_AndClosesNoDescriptorOfItsOwn) {
  const TemporaryDirectory root;
  LockFile held = LockDirectory(root.path("locks"), false).try_lock("x");
  const int number = held.get();
  const pid_t child = ::fork();
  if (child == 0) {
    if (held || ::fcntl(number, F_GETFD) >= 0) ::_exit(1);
    if (::dup2(STDERR_FILENO, number) != number) ::_exit(2);
    held.reset();
    ::_exit(::fcntl(number, F_GETFD) >= 0 ? 0 : 3);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_TRUE(held);
}

TEST(LockDirectory, LookingIsNoEvent) {
  const TemporaryDirectory root;
  LockDirectory locks(root.path("locks"), false);
  const LockFile held = locks.try_lock("x");
  static_cast<void>(locks.lock_briefly("book", 1s));  // makes the file
  locks.watch();
  locks.drain();
  static_cast<void>(locks.is_held("x"));
  static_cast<void>(locks.read("x"));
  static_cast<void>(locks.lock_briefly("book", 1s));
  EXPECT_FALSE(locks.drain());
}

TEST(LockDirectory, ALockFileThatWasRemovedAndMadeAnew_IsNotTheLock) {
  const TemporaryDirectory root;
  LockDirectory locks(root.path("locks"), false);
  const LockFile first = locks.try_lock("x");
  std::filesystem::remove(root.path("locks/x"));
  const LockFile second = locks.try_lock("x");
  EXPECT_TRUE(second) << "the new file is the lock now";
  EXPECT_TRUE(locks.is_held("x"));
}

TEST(LockDirectory, WhatIsShared_IsSoForEverybodyFromItsFirstMoment) {
  const TemporaryDirectory root;
  const mode_t before = ::umask(077);
  // Watched from beside: the permissions that a name has when it is first there.
  std::atomic<bool> stop{false};
  std::atomic<mode_t> directory{0};
  std::atomic<mode_t> file{0};
  std::thread watcher([&] {
    while (!stop && (directory == 0 || file == 0)) {
      struct stat info {};
      if (directory == 0 && ::stat(root.path("locks").c_str(), &info) == 0)
        directory = info.st_mode;
      if (file == 0 && ::stat(root.path("locks/x").c_str(), &info) == 0) file = info.st_mode;
    }
  });
  LockDirectory locks(root.path("locks"), true);
  EXPECT_TRUE(locks.try_lock("x"));
  while (directory == 0 || file == 0) std::this_thread::yield();
  stop = true;
  watcher.join();
  EXPECT_EQ(::umask(before), 077U) << "the process's own stays";
  EXPECT_EQ(directory.load() & 07777, 01777U);
  EXPECT_EQ(file.load() & 07777, 0666U);
}

TEST(LockDirectory, ThatWasLeftClosedToOthers_IsOpenedByItsOwner) {
  const TemporaryDirectory root;
  static_cast<void>(LockDirectory(root.path("locks"), true));
  for (const mode_t left : {0700U, 01755U}) {
    ASSERT_EQ(::chmod(root.path("locks").c_str(), left), 0);
    EXPECT_TRUE(LockDirectory(root.path("locks"), true).try_lock("x"));
    EXPECT_EQ(mode_of(root.path("locks")), 01777U);
  }
}

TEST(LockDirectory, ADirectoryThatWasRemovedIsMadeAgain) {
  const TemporaryDirectory root;
  LockDirectory locks(root.path("locks"), false);
  std::filesystem::remove_all(root.path("locks"));
  EXPECT_TRUE(locks.try_lock("x"));
  EXPECT_TRUE(std::filesystem::exists(root.path("locks/x")));
}

TEST(LockDirectory, ABookThatIsNeverGivenBackIsGivenUp) {
  const TemporaryDirectory root;
  LockDirectory a(root.path("locks"), false);
  const LockFile stuck = a.lock_briefly("book", 1s);
  ASSERT_TRUE(stuck);
  EXPECT_FALSE(LockDirectory(root.path("locks"), false).lock_briefly("book", 20ms));
}

TEST(LockDirectory, ACrowdThatTakesTurnsAtTheBookIsWaitedForHoweverLong) {
  const TemporaryDirectory root;
  LockDirectory locks(root.path("locks"), false);
  LockFile book = locks.lock_briefly("book", 1s);
  ASSERT_TRUE(book);
  std::thread crowd([&] {
    for (int turn = 0; turn < 30; ++turn) {
      ::futimens(book.get(), nullptr);  // as each taker does
      std::this_thread::sleep_for(20ms);
    }
    book.reset();
  });
  EXPECT_TRUE(LockDirectory(root.path("locks"), false).lock_briefly("book", 300ms));
  crowd.join();
}

TEST(LockDirectory, TextIsReplacedWhole) {
  const TemporaryDirectory root;
  LockDirectory locks(root.path("locks"), false);
  const LockFile held = locks.try_lock("x");
  LockDirectory::write(held, "a long text");
  LockDirectory::write(held, "short");
  EXPECT_EQ(locks.read("x"), "short");
  EXPECT_EQ(locks.read("y"), std::nullopt);
}

}  // namespace
}  // namespace ionian
