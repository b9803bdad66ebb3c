#include "lease/lock_directory.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "ionian/error.hpp"
#include "support/temporary_directory.hpp"

namespace ionian {
namespace {

using namespace std::chrono_literals;
using testing::TemporaryDirectory;

TEST(LockDirectory, IsMadePrivate_AndSharedOnlyWhenAsked) {
  const TemporaryDirectory root;
  const auto mode = [](const std::string& path) {
    struct stat info {};
    EXPECT_EQ(::stat(path.c_str(), &info), 0);
    return info.st_mode & 07777;
  };
  const LockDirectory own(root.path("own"), false);
  const LockDirectory shared(root.path("shared"), true);
  EXPECT_EQ(mode(root.path("own")), 0700U);
  EXPECT_EQ(mode(root.path("shared")), 01777U);
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
  UniqueFd held = a.try_lock("x");
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
    const UniqueFd held = LockDirectory(root.path("locks"), false).try_lock("x");
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

TEST(LockDirectory, LookingIsNoEvent) {
  const TemporaryDirectory root;
  LockDirectory locks(root.path("locks"), false);
  const UniqueFd held = locks.try_lock("x");
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
  const UniqueFd first = locks.try_lock("x");
  std::filesystem::remove(root.path("locks/x"));
  const UniqueFd second = locks.try_lock("x");
  EXPECT_TRUE(second) << "the new file is the lock now";
  EXPECT_TRUE(locks.is_held("x"));
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
  const UniqueFd stuck = a.lock_briefly("book", 1s);
  ASSERT_TRUE(stuck);
  EXPECT_FALSE(LockDirectory(root.path("locks"), false).lock_briefly("book", 20ms));
}

TEST(LockDirectory, ACrowdThatTakesTurnsAtTheBookIsWaitedForHoweverLong) {
  const TemporaryDirectory root;
  LockDirectory locks(root.path("locks"), false);
  UniqueFd book = locks.lock_briefly("book", 1s);
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
  const UniqueFd held = locks.try_lock("x");
  LockDirectory::write(held, "a long text");
  LockDirectory::write(held, "short");
  EXPECT_EQ(locks.read("x"), "short");
  EXPECT_EQ(locks.read("y"), std::nullopt);
}

}  // namespace
}  // namespace ionian
