// syscall.hpp: the system-call seam. Every call that can fail for want of a resource goes through
// here, so that a test can make the Nth one fail and watch what the caller does.
//
// All functions retry EINTR, set close-on-exec, and throw by `throw_errno` unless they say
// otherwise.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <utility>

#include "ionian/fd.hpp"

namespace ionian::sys {

/// Called with the call's name before each call; a result other than 0 is the errno that the call
/// then fails with. For tests; not thread-safe against calls in flight.
using FaultHook = std::function<int(const char* call)>;
void set_fault_hook(FaultHook hook);
/// Returns the errno that the hook wants the call to fail with, 0 for none: for calls that are made
/// elsewhere.
int injected_errno(const char* call);

UniqueFd open(const std::string& path, int flags, mode_t mode = 0);
/// A memfd of `size` bytes, its pages allocated (never SIGBUS), sealed against shrinking and
/// growing.
UniqueFd sealed_memory(const char* name, std::size_t size);
/// Throws ExecutionError unless `fd` is a memfd of at least `size` bytes that can no longer shrink,
/// PermissionDeniedError if another user made it. Call it before mapping: what passes never gives
/// SIGBUS.
void check_sealed(int fd, std::size_t size);
/// Throws PermissionDeniedError unless the other end of the Unix socket is of this user. The kernel
/// noted that user when the two were connected; no byte is read. Call it before the first one is.
void check_peer(int socket);
UniqueFd event_fd();
/// A connected pair of Unix stream sockets.
std::pair<UniqueFd, UniqueFd> socket_pair();
/// The same, keeping message boundaries.
std::pair<UniqueFd, UniqueFd> packet_socket_pair();
/// A pipe: {read end, write end}.
std::pair<UniqueFd, UniqueFd> pipe();
void set_nonblocking(int fd, bool on);
void write_all(int fd, std::span<const std::byte> bytes);

/// CLOCK_MONOTONIC. Wall-clock time decides nothing in ionian.
using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;

/// Owns a mapping of shared memory. Move-only; unmaps in the destructor.
class Mapping {
 public:
  Mapping() noexcept = default;
  /// Maps `size` bytes of `fd` for reading and writing, shared.
  Mapping(int fd, std::size_t size);
  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { reset(); }

  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  void reset() noexcept;

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace ionian::sys
