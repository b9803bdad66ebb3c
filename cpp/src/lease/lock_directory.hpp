// lock_directory.hpp: lock files that every process of the machine sees, as kernel locks.
//
// A file is never unlinked, and its content never decides who holds it: the flock does. Opening to
// hold is for writing, opening to look is for reading, so that the end of a holder, and only that,
// is a "close after write" event for those who watch the directory.
#pragma once

#include <sys/stat.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "ionian/fd.hpp"
#include "lease/lock_file.hpp"

namespace ionian {

class LockDirectory {
 public:
  /// Opens `path`, making it if it is not there: 0700, or 1777 where `shared`. Throws
  /// PermissionDeniedError if it is a symbolic link or no directory, or without the sticky bit
  /// another user's or everybody's to write to.
  LockDirectory(std::string path, bool shared);

  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  /// Takes the lock `name` if nobody holds it, or with kShared nobody exclusively; empty if
  /// somebody does. The file is made if need be. Throws PermissionDeniedError if it is a link or no
  /// plain file, or may not be opened.
  LockFile try_lock(const std::string& name, Hold hold = Hold::kExclusive);
  /// Takes the lock `name` for writing down something, for as long as the result lives. Returns an
  /// empty descriptor if the same holder keeps it for `limit`; a crowd that takes turns is waited
  /// for: each taker renews the file's time stamp. Its release is no event.
  LockFile lock_briefly(const std::string& name, std::chrono::milliseconds limit);
  /// Returns how the lock `name` is held. Call it only while holding the lock that orders all
  /// takers: it holds the lock itself for a moment.
  [[nodiscard]] Hold held(const std::string& name) const;
  [[nodiscard]] bool is_held(const std::string& name) const { return held(name) != Hold::kNone; }

  struct Look {
    bool held = false;
    std::string text = {};  // if it is held
  };
  /// Returns whether the lock is held and what its file says then; nullopt if there is no file. As
  /// with `held`.
  [[nodiscard]] std::optional<Look> look(const std::string& name) const;

  /// Replaces what the file of a held lock says.
  static void write(const LockFile& lock, const std::string& text);
  /// Replaces what the file `name` says, which nobody holds; it is made if need be. If that cannot
  /// be done, or the writer is killed, the file says nothing or a part. Throws as `try_lock` does.
  void replace(const std::string& name, const std::string& text);
  /// Returns what the file says, nullopt if there is none.
  [[nodiscard]] std::optional<std::string> read(const std::string& name) const;

  /// Returns the names of files that begin with `prefix`, sorted.
  [[nodiscard]] std::vector<std::string> names(const std::string& prefix) const;

  /// Returns a descriptor that is readable after a lock was released or written to; -1 while the
  /// kernel has no watch to give.
  int watch();
  /// Reads the events away. Returns whether there was one.
  bool drain();

 private:
  void open_directory();
  [[nodiscard]] LockFile open_file(const std::string& name, int flags) const;
  /// Makes the lock `name`, for everybody to open. Returns 0 or an errno.
  [[nodiscard]] int make_file(const std::string& name) const;
  static std::string read_text(const LockFile& file);
  void check_plain(const LockFile& file, const std::string& name) const;
  [[nodiscard]] UniqueFd make_watch() const;
  [[nodiscard]] bool still_there(const LockFile& file, const std::string& name) const;

  std::string path_;
  bool shared_;
  UniqueFd directory_;
  UniqueFd watch_;
  bool said_blind_ = false;
};

}  // namespace ionian
