// Every system call that can fail for want of a resource fails once, the first, the second, … each
// with each errno that its manual page lists: what comes is an error of ours, nothing is left open,
// and once the resource is back the same thing works.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>
#include <map>

#include "base/syscall.hpp"
#include "exec/channel.hpp"
#include "exec/process.hpp"
#include "ionian/error.hpp"
#include "ionian/lease.hpp"
#include "lease/lock_directory.hpp"
#include "support/run.hpp"

namespace ionian {
namespace {

using namespace std::chrono_literals;

/// By call, the errnos of its manual page that a program can meet with good arguments.
const std::map<std::string, std::vector<int>>& errnos() {
  static const std::map<std::string, std::vector<int>> table{
      {"open", {EACCES, EMFILE, ENFILE, ENOENT, ENOMEM, ENOSPC, EROFS, EINTR}},
      {"memfd_create", {EMFILE, ENFILE, ENOMEM, EINTR}},
      {"posix_fallocate", {ENOSPC, EFBIG, ENODEV, EINTR}},
      {"fcntl", {EPERM, EBUSY, EMFILE, EINTR}},
      {"eventfd", {EMFILE, ENFILE, ENODEV, ENOMEM, EINTR}},
      {"socketpair", {EMFILE, ENFILE, ENOMEM, EINTR}},
      {"pipe2", {EMFILE, ENFILE, EINTR}},
      {"write", {EPIPE, ENOSPC, EFBIG, EIO, EINTR}},
      {"mmap", {ENOMEM, EAGAIN, ENFILE, EPERM, EINTR}},
      {"openat", {EMFILE, ENFILE, ENOMEM, EINTR}},
      {"flock", {ENOLCK, EINTR}},
      {"fork", {EAGAIN, ENOMEM}}};
  return table;
}

struct Sweep {
  int failures = 0;  // ended with an error of ours
  int retried = 0;   // EINTR: the caller saw nothing of it
};

/// Makes the nth call fail with each errno it can have, for n = 1, 2, … until the body comes
/// through without one. `body` must clean up after itself.
Sweep sweep(const std::function<void()>& body) {
  Sweep done;
  body();  // what is made once and kept is made now
  const std::size_t before = testing::open_descriptors();
  for (int nth = 1;; ++nth) {
    std::string name;
    for (std::size_t which = 0;; ++which) {
      int count = 0;
      int injected = 0;
      sys::set_fault_hook([&](const char* call) {
        if (++count != nth) return 0;
        name = call;
        const auto& codes = errnos().at(name);
        injected = which < codes.size() ? codes[which] : 0;
        return injected;
      });
      SCOPED_TRACE("call " + std::to_string(nth) + ", " + name + ", errno number " +
                   std::to_string(which));
      bool failed = false;
      try {
        body();
      } catch (const Error& error) {
        failed = true;
        EXPECT_FALSE(std::string(error.what()).empty());
      }
      sys::set_fault_hook({});
      EXPECT_EQ(testing::open_descriptors(), before);
      EXPECT_TRUE(process::children().empty());
      if (count < nth) return done;  // it is through: there is no nth call
      if (injected == 0) break;
      EXPECT_EQ(failed, injected != EINTR) << std::strerror(injected);
      ++(failed ? done.failures : done.retried);
      if (::testing::Test::HasFailure()) return done;
    }
    body();
  }
}

void report(const char* name, const Sweep& done) {
  ::testing::Test::RecordProperty("failures", done.failures);
  std::printf("%s: %d failures, %d retried\n", name, done.failures, done.retried);
  EXPECT_GT(done.failures, 0);
}

TEST(NthFailure, OfTheChannel) {
  report("channel", sweep([] {
           CallerChannel caller;
           Doorbell doorbell;
           const auto copy = [](int fd) { return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); };
           WorkerChannel worker(copy(caller.memory_fd()), copy(doorbell.fd()),
                                copy(caller.worker_socket()));
           const std::string text = "hello";
           caller.send(1, RequestKind::kCall, {std::as_bytes(std::span(text)), {}});
           const auto request = worker.next();
           ASSERT_TRUE(request.has_value());
           worker.started();
           worker.reply(ReplyStatus::kReturned, {request->head(), {}});
           ASSERT_TRUE(caller.receive().has_value());
         }));
}

TEST(NthFailure, OfTheArena) {
  report("arena", sweep([] {
           std::vector<std::byte> base(1 << 16);
           Arena arena(base, [](const Slab&) {});
           for (const std::size_t size : {std::size_t{100}, std::size_t{3} << 20}) {
             const auto block = arena.allocate(size);
             block.data[size - 1] = std::byte{1};
             arena.cancel(block.ref);
           }
         }));
}

TEST(NthFailure, OfTheLockDirectory) {
  const testing::TemporaryDirectory folder;
  report("lock directory", sweep([&] {
           LockDirectory directory(folder.path("locks"), false);
           ASSERT_TRUE(directory.try_lock("gpu-a"));
           LockDirectory::write(directory.try_lock("gpu-a"), "text");
           ASSERT_EQ(directory.read("gpu-a"), "text");
           ASSERT_TRUE(directory.lock_briefly("book", 100ms));
         }));
}

TEST(NthFailure, OfTheLeaseBook) {
  const testing::TemporaryDirectory folder;
  report("lease book", sweep([&] {
           InventoryOptions options;
           options.simulate = "A10G:2";
           LeaseBookOptions lease_options;
           lease_options.lock_dir = folder.path("locks");
           LeaseBook book(read_inventory(options), lease_options);
           const auto request = GpuRequest::parse("A10G:2");
           auto lease = book.acquire(request, this_process_as_owner("t", "f", ""), 0ms);
           ASSERT_EQ(lease.devices().size(), 2U);
         }));
}

TEST(NthFailure, OfTheProgramStart) {
  report("program start", sweep([] {
           const pid_t pid = process::start({{"/bin/true"}, {}, ""});
           ::waitpid(pid, nullptr, 0);
         }));
}

}  // namespace
}  // namespace ionian
