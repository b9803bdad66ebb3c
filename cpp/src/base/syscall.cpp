#include "base/syscall.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "ionian/error.hpp"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL \
  0x0008U  // Linux 6.3; older kernels answer EINVAL and we ask again without it
#endif

namespace ionian::sys {
namespace {

FaultHook& fault_hook() {
  static FaultHook hook;
  return hook;
}

}  // namespace

void set_fault_hook(FaultHook hook) { fault_hook() = std::move(hook); }

int injected_errno(const char* call) { return fault_hook() ? fault_hook()(call) : 0; }

namespace {

/// Runs `call` until it succeeds; throws by errno. `name` is what the fault hook and the error see.
template <class Call>
int checked(const char* name, const std::string& what, Call call) {
  for (;;) {
    int code = injected_errno(name);
    if (code == 0) {
      const int result = call();
      if (result >= 0) return result;
      code = errno;
    }
    if (code != EINTR) throw_errno(what, code);
  }
}

}  // namespace

UniqueFd open(const std::string& path, int flags, mode_t mode) {
  return UniqueFd(checked("open", "open " + path,
                          [&] { return ::open(path.c_str(), flags | O_CLOEXEC, mode); }));
}

UniqueFd sealed_memory(const char* name, std::size_t size) {
  UniqueFd fd(checked("memfd_create", "create shared memory", [&] {
    const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    const int made = ::memfd_create(name, flags | MFD_NOEXEC_SEAL);
    return made >= 0 || errno != EINVAL ? made : ::memfd_create(name, flags);
  }));
  // posix_fallocate, not ftruncate: a page that cannot be had is an error here, not SIGBUS later.
  checked("posix_fallocate", "allocate " + std::to_string(size) + " bytes of shared memory", [&] {
    const int code = ::posix_fallocate(fd.get(), 0, static_cast<off_t>(size));
    if (code == 0) return 0;
    errno = code;
    return -1;
  });
  checked("fcntl", "seal shared memory", [&] {
    return ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  });
  return fd;
}

void check_sealed(int fd, std::size_t size) {
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) {
    throw ExecutionError(
        "[shared memory] refused: the peer's memory is not sealed against shrinking");
  }
  struct stat info {};
  if (::fstat(fd, &info) != 0 || static_cast<std::size_t>(info.st_size) < size) {
    throw ExecutionError("[shared memory] refused: the peer's memory is smaller than " +
                         std::to_string(size) + " bytes");
  }
  if (info.st_uid != ::geteuid()) {
    throw PermissionDeniedError("[shared memory] refused: it was made by uid " +
                                std::to_string(info.st_uid) + ", and this process is of uid " +
                                std::to_string(::geteuid()));
  }
}

void check_peer(int socket) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    throw_errno("ask who is at the other end of a socket", errno);
  }
  if (peer.uid != ::geteuid()) {
    throw PermissionDeniedError("[socket] refused: the other end is of uid " +
                                std::to_string(peer.uid) + ", and this process is of uid " +
                                std::to_string(::geteuid()) +
                                "; a run is of one user from end to end");
  }
}

UniqueFd event_fd() {
  return UniqueFd(checked("eventfd", "create an eventfd",
                          [] { return ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }));
}

namespace {

std::pair<UniqueFd, UniqueFd> unix_pair(int type) {
  int fds[2] = {-1, -1};
  checked("socketpair", "create a socket pair",
          [&] { return ::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds); });
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

}  // namespace

std::pair<UniqueFd, UniqueFd> socket_pair() { return unix_pair(SOCK_STREAM); }

std::pair<UniqueFd, UniqueFd> packet_socket_pair() { return unix_pair(SOCK_SEQPACKET); }

std::pair<UniqueFd, UniqueFd> pipe() {
  int fds[2] = {-1, -1};
  checked("pipe2", "create a pipe", [&] { return ::pipe2(fds, O_CLOEXEC); });
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

void set_nonblocking(int fd, bool on) {
  const int flags = checked("fcntl", "read descriptor flags", [&] { return ::fcntl(fd, F_GETFL); });
  checked("fcntl", "set descriptor flags",
          [&] { return ::fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK); });
}

void write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto written = checked("write", "write to a descriptor", [&] {
      return static_cast<int>(
          ::write(fd, bytes.data(), std::min<std::size_t>(bytes.size(), 1 << 30)));
    });
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

Mapping::Mapping(int fd, std::size_t size) : size_(size) {
  checked("mmap", "map " + std::to_string(size) + " bytes of shared memory", [&] {
    void* address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (address == MAP_FAILED) return -1;
    data_ = static_cast<std::byte*>(address);
    return 0;
  });
}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    reset();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

void Mapping::reset() noexcept {
  if (data_ != nullptr) ::munmap(std::exchange(data_, nullptr), std::exchange(size_, 0));
}

}  // namespace ionian::sys
