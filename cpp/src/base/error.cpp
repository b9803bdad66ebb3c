#include "ionian/error.hpp"

#include <cerrno>
#include <system_error>

namespace ionian {

void throw_errno(const std::string& what, int code) {
  const std::string message = "[" + what + "] failed: " + std::generic_category().message(code) +
                              " (errno " + std::to_string(code) + ")";
  switch (code) {
    case EMFILE:
    case ENFILE:
      throw ResourceExhaustedError(message + "; raise the limit of open files (ulimit -n)");
    case ENOMEM:
    case ENOSPC:
    case EDQUOT:
      throw ResourceExhaustedError(message + "; memory or disk space is used up");
    case EFBIG:
      throw ResourceExhaustedError(message + "; raise the limit of file sizes (ulimit -f), which " +
                                   "shared memory counts against");
    case EAGAIN:
      throw ResourceExhaustedError(message + "; the limit of processes or threads is reached");
    case EACCES:
    case EPERM:
      throw PermissionDeniedError(message);
    default:
      throw SystemError(message, code);
  }
}

}  // namespace ionian
