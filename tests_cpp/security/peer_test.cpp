// Who is at the other end of a socket: another user is refused before a byte of it is read.
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>

#include <linux/sockios.h>

#include "base/syscall.hpp"
#include "exec/frame.hpp"
#include "exec/message.hpp"
#include "exec/process.hpp"
#include "ionian/error.hpp"

namespace ionian {
namespace {

constexpr uid_t kStranger = 12345;

/// Runs `body` in a child of another user. Returns its exit status.
int as_stranger(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setgid(kStranger) != 0 || ::setuid(kStranger) != 0) ::_exit(99);
    ::_exit(body());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int unread(const UniqueFd& socket) {
  int bytes = -1;
  EXPECT_EQ(::ioctl(socket.get(), FIONREAD, &bytes), 0);
  return bytes;
}

TEST(PeerOfASocket, OfThisUser_IsAccepted) {
  auto [a, b] = sys::socket_pair();
  EXPECT_NO_THROW(sys::check_peer(a.get()));
  EXPECT_NO_THROW(FrameSocket(std::move(b)));
}

TEST(PeerOfASocket, ThatIsNoSocket_IsAnError) {
  const auto [read_end, write_end] = sys::pipe();
  EXPECT_THROW(sys::check_peer(read_end.get()), Error);
  EXPECT_THROW(sys::check_peer(-1), Error);
}

TEST(PeerOfASocket, OfAnotherUser_IsRefusedBeforeAByteIsRead) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  auto [mine, theirs] = sys::socket_pair();
  ASSERT_EQ(::write(mine.get(), "bytes", 5), 5);
  const int other = theirs.get();
  EXPECT_EQ(as_stranger([other] {
              try {
                const FrameSocket socket{UniqueFd(::dup(other))};
              } catch (const PermissionDeniedError&) {
                return 0;
              }
              return 1;
            }),
            0);
  EXPECT_EQ(unread(theirs), 5);
}

TEST(Guardian, StartedByAnotherUsersSocket_EndsWithoutReadingIt) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  auto [mine, theirs] = sys::socket_pair();
  FrameSocket caller(std::move(mine));
  message::Hello hello;
  hello.caller_pid = ::getpid();
  message::send(caller, hello);
  const int before = unread(theirs);
  ASSERT_GT(before, 0);
  auto [out, writer] = sys::pipe();
  const int socket = theirs.get();
  const int error = writer.get();
  const int status = as_stranger([socket, error] {
    ::dup2(error, STDERR_FILENO);
    ::dup2(socket, 3);
    ::execl(IONIAN_GUARDIAN, "ionian-guardian", nullptr);
    return 98;
  });
  writer.reset();
  if (status == 98) GTEST_SKIP() << "another user cannot read " IONIAN_GUARDIAN;
  std::string text(4096, '\0');
  text.resize(
      static_cast<std::size_t>(std::max<ssize_t>(0, ::read(out.get(), text.data(), text.size()))));
  EXPECT_EQ(status, 1) << text;
  EXPECT_NE(text.find("uid 0"), std::string::npos) << text;
  EXPECT_EQ(unread(theirs), before);
}

}  // namespace
}  // namespace ionian
