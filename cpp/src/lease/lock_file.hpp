// lock_file.hpp: an open file whose kernel lock ends with this process at the latest.
//
// An flock belongs to the open file, and a fork hands that on: a child that executes no other
// program would keep the lock after its parent has released it or was killed. So a child closes
// these files before fork returns in it, and a lock is undone before its file is closed, for
// children that were made without fork.
#pragma once

#include <sys/types.h>

#include <list>
#include <optional>
#include <string>
#include <utility>

#include "ionian/fd.hpp"

namespace ionian {

enum class Hold { kNone, kShared, kExclusive };

/// Owns an open file and its lock; empty in a child that was forked with it. Move-only; the
/// destructor lets go of the lock and never throws. Different objects may be used by different
/// threads.
class LockFile {
 public:
  LockFile() noexcept = default;
  /// Opens `name` in `directory`, close-on-exec. Empty, with errno set, if that fails.
  LockFile(const UniqueFd& directory, const std::string& name, int flags, mode_t mode = 0);
  LockFile(LockFile&& other) noexcept : entry_(std::exchange(other.entry_, std::nullopt)) {}
  LockFile& operator=(LockFile&& other) noexcept {
    if (this != &other) {
      reset();
      entry_ = std::exchange(other.entry_, std::nullopt);
    }
    return *this;
  }
  LockFile(const LockFile&) = delete;
  LockFile& operator=(const LockFile&) = delete;
  ~LockFile() { reset(); }

  [[nodiscard]] int get() const noexcept { return entry_ ? (*entry_)->fd : -1; }
  [[nodiscard]] explicit operator bool() const noexcept { return get() >= 0; }
  /// Locks the file (kShared or kExclusive), in place of the lock that it has. Returns false if
  /// somebody else's lock is in the way; never waits. Throws by `throw_errno`.
  [[nodiscard]] bool try_lock(Hold hold) const;
  void reset() noexcept;

 private:
  struct Entry {
    int fd = -1;
    pid_t opener = 0;
  };
  struct Registry;
  static Registry& registry();

  std::optional<std::list<Entry>::iterator> entry_;
};

}  // namespace ionian
