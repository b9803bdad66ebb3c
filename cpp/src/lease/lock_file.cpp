#include "lease/lock_file.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>

#include "base/syscall.hpp"
#include "ionian/error.hpp"

namespace ionian {

struct LockFile::Registry {
  std::mutex mutex;
  std::list<Entry> files;
};

LockFile::Registry& LockFile::registry() {
  // Never destroyed: leases may be static objects, and threads outlive those.
  static Registry& instance = *new Registry;  // NOLINT(cppcoreguidelines-owning-memory)
  static const int registered =
      ::pthread_atfork([] { instance.mutex.lock(); }, [] { instance.mutex.unlock(); },
                       [] {
                         // Only what may be called between fork and exec.
                         for (Entry& file : instance.files) {
                           if (file.fd >= 0) ::close(std::exchange(file.fd, -1));
                         }
                         instance.mutex.unlock();
                       });
  static_cast<void>(registered);
  return instance;
}

LockFile::LockFile(const UniqueFd& directory, const std::string& name, int flags, mode_t mode) {
  Registry& all = registry();
  // A fork between opening and writing down would hand the file on.
  const std::lock_guard guard(all.mutex);
  const int fd = ::openat(directory.get(), name.c_str(), flags | O_CLOEXEC, mode);
  if (fd >= 0) entry_ = all.files.insert(all.files.end(), {fd, ::getpid()});
}

bool LockFile::try_lock(Hold hold) const {
  const int operation = hold == Hold::kShared ? LOCK_SH : LOCK_EX;
  for (;;) {
    const int injected = sys::injected_errno("flock");
    if (injected == 0 && ::flock(get(), operation | LOCK_NB) == 0) return true;
    if (injected != 0) errno = injected;
    if (errno == EWOULDBLOCK) return false;
    if (errno != EINTR) throw_errno("lock a file", errno);
  }
}

void LockFile::reset() noexcept {
  if (!entry_) return;
  Registry& all = registry();
  const std::lock_guard guard(all.mutex);
  const Entry& file = **entry_;
  if (file.fd >= 0) {
    // A copy in a child that no handler has seen is not its parent's to unlock.
    if (file.opener == ::getpid()) ::flock(file.fd, LOCK_UN);
    ::close(file.fd);
  }
  all.files.erase(*entry_);
  entry_.reset();
}

}  // namespace ionian
