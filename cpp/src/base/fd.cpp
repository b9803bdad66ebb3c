#include "ionian/fd.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "ionian/error.hpp"

namespace ionian {

void UniqueFd::reset() noexcept {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

UniqueFd UniqueFd::duplicate() const {
  const int fd = ::fcntl(fd_, F_DUPFD_CLOEXEC, 0);
  if (fd < 0) throw_errno("duplicate a file descriptor", errno);
  return UniqueFd(fd);
}

}  // namespace ionian
