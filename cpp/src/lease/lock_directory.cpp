#include "lease/lock_directory.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "base/fault.hpp"
#include "base/syscall.hpp"
#include "ionian/error.hpp"
#include "ionian/log.hpp"

namespace ionian {
namespace {

/// A lock file is a page of text at most, the order of the queue a dozen bytes for each request;
/// whatever else lies there is not read.
constexpr std::size_t kLongestText = std::size_t{256} << 10;
constexpr std::chrono::microseconds kShortestPause{20};
constexpr std::chrono::milliseconds kLongestPause{250};

/// Makes a directory that everybody may use, whatever the umask: who is killed between mkdir and
/// chmod would leave one that is closed to other users. The umask is the whole process's, so it is
/// set aside in a thread of its own, where a sandbox does not forbid that. Returns 0 or an errno.
int make_shared_directory(const std::string& path) {
  int code = 0;
  const auto make = [&] { code = ::mkdir(path.c_str(), 01777) == 0 ? 0 : errno; };
  try {
    std::thread([&] {
      if (::unshare(CLONE_FS) == 0) ::umask(0);
      make();
    }).join();
  } catch (const std::system_error&) {  // no thread is to be had
    make();
  }
  return code;
}

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
  throw PermissionDeniedError("[lock directory] " + path + " " + why +
                              ": GPU locks there could be tampered with. Remove it, or set "
                              "IONIAN_LOCK_DIR to a directory of your own");
}

}  // namespace

LockDirectory::LockDirectory(std::string path, bool shared)
    : path_(std::move(path)), shared_(shared) {
  open_directory();
}

void LockDirectory::open_directory() {
  watch_.reset();
  int code = 0;
  if (!shared_) {
    code = ::mkdir(path_.c_str(), 0700) == 0 ? 0 : errno;
  } else if (::access(path_.c_str(), F_OK) != 0) {
    code = make_shared_directory(path_);
  }
  if (code != 0 && code != EEXIST) throw_errno("make the lock directory " + path_, code);
  struct stat looked_at {};
  for (int attempt = 0;; ++attempt) {
    struct stat info {};
    if (::lstat(path_.c_str(), &info) != 0)
      throw_errno("look at the lock directory " + path_, errno);
    if (S_ISLNK(info.st_mode)) refuse(path_, "is a symbolic link");
    if (!S_ISDIR(info.st_mode)) refuse(path_, "is not a directory");
    const bool sticky = (info.st_mode & S_ISVTX) != 0;
    if (!sticky && (info.st_mode & S_IWOTH) != 0) {
      refuse(path_, "can be written to by everybody and lacks the sticky bit");
    }
    const bool ours = info.st_uid == ::geteuid();
    const bool for_all = (info.st_mode & 01777) == 01777;
    // Only where the umask could not be set aside when it was made.
    if (shared_ && ours && !for_all && ::chmod(path_.c_str(), 01777) != 0)
      throw_errno("share " + path_, errno);
    // Another user's may be between mkdir and chmod.
    const bool settled = !shared_ || ours || for_all || attempt == 50;
    if (settled && (ours || sticky || info.st_uid == 0)) {
      looked_at = info;
      break;
    }
    if (settled) {
      refuse(path_, "belongs to uid " + std::to_string(info.st_uid) + " and lacks the sticky bit");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  FAULT("lock_directory.open");
  directory_ = sys::open(path_, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  struct stat opened {};
  if (::fstat(directory_.get(), &opened) != 0 || opened.st_ino != looked_at.st_ino ||
      opened.st_dev != looked_at.st_dev) {
    refuse(path_, "was replaced while it was opened");
  }
}

LockFile LockDirectory::open_file(const std::string& name, int flags) const {
  int code = 0;
  do {
    code = sys::injected_errno("openat");
    if (code != 0) continue;
    LockFile file(directory_, name, flags | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (file) return file;
    code = errno;
  } while (code == EINTR);
  // Want of descriptors must not look like a lock that nobody holds.
  if (code == EMFILE || code == ENFILE || code == ENOMEM)
    throw_errno("open the lock " + path_ + "/" + name, code);
  errno = code;
  return {};
}

int LockDirectory::make_file(const std::string& name) const {
  const auto failed = [](int result) { return result == 0 ? 0 : errno; };
  // It gets its name when it has its permissions: who is killed in between leaves nothing.
  const UniqueFd nameless(::openat(directory_.get(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0666));
  FAULT("lock_directory.created");
  if (nameless && ::fchmod(nameless.get(), 0666) == 0) {
    const std::string path = "/proc/self/fd/" + std::to_string(nameless.get());
    const int code =
        failed(::linkat(AT_FDCWD, path.c_str(), directory_.get(), name.c_str(), AT_SYMLINK_FOLLOW));
    if (code == 0 || code == EEXIST) return code;
  }
  // A file system that cannot do that, or no /proc.
  const LockFile file = open_file(name, O_RDWR | O_CREAT | O_EXCL);
  return file ? failed(::fchmod(file.get(), 0666)) : errno;
}

/// Refuses what a file of locks cannot be: writing to it would change something else.
void LockDirectory::check_plain(const LockFile& file, const std::string& name) const {
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) throw_errno("look at the lock " + path_ + "/" + name, errno);
  if (!S_ISREG(info.st_mode)) refuse(path_ + "/" + name, "is not a plain file");
  if (info.st_nlink > 1) refuse(path_ + "/" + name, "has a second name elsewhere (hard link)");
}

bool LockDirectory::still_there(const LockFile& file, const std::string& name) const {
  struct stat mine {};
  struct stat there {};
  return ::fstat(file.get(), &mine) == 0 &&
         ::fstatat(directory_.get(), name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 &&
         mine.st_ino == there.st_ino && mine.st_dev == there.st_dev;
}

LockFile LockDirectory::try_lock(const std::string& name, Hold hold) {
  for (int attempt = 0; attempt < 100; ++attempt) {
    // Without O_CREAT first: fs.protected_regular forbids it on another user's file in a sticky
    // directory.
    LockFile file = open_file(name, O_RDWR);
    if (!file && errno == ENOENT) {
      const int code = make_file(name);
      if (code == ENOENT) open_directory();  // it was removed under us
      if (code == 0 || code == EEXIST || code == ENOENT) continue;
      errno = code;
    }
    if (!file && errno == ELOOP) refuse(path_ + "/" + name, "is a symbolic link");
    if (!file) throw_errno("open the lock " + path_ + "/" + name, errno);
    check_plain(file, name);
    if (!file.try_lock(hold)) return {};
    if (still_there(file, name)) return file;
  }
  throw ExecutionError("[lock directory] " + path_ + "/" + name +
                       " is replaced faster than it can be locked");
}

LockFile LockDirectory::lock_briefly(const std::string& name, std::chrono::milliseconds limit) {
  const auto begin = sys::Clock::now();
  auto deadline = begin + limit;
  timespec taken{};  // by whoever holds it
  for (;;) {
    // The file has to exist before it can be opened for reading; after that no event is made.
    LockFile file = open_file(name, O_RDONLY);
    if (!file) {
      if (errno != ENOENT) throw_errno("open the lock " + path_ + "/" + name, errno);
      if (!try_lock(name) && sys::Clock::now() > deadline) return {};
      continue;
    }
    if (file.try_lock(Hold::kExclusive)) {
      if (!still_there(file, name)) continue;
      ::futimens(file.get(), nullptr);
      return file;
    }
    struct stat info {};
    if (::fstat(file.get(), &info) == 0 &&
        (info.st_mtim.tv_sec != taken.tv_sec || info.st_mtim.tv_nsec != taken.tv_nsec)) {
      taken = info.st_mtim;
      deadline = sys::Clock::now() + limit;
    }
    if (sys::Clock::now() > deadline) return {};
    // In proportion to the wait so far: a crowd that looks often keeps the holder from the
    // processor.
    std::this_thread::sleep_for(std::clamp<sys::Clock::duration>((sys::Clock::now() - begin) / 8,
                                                                 kShortestPause, kLongestPause));
  }
}

Hold LockDirectory::held(const std::string& name) const {
  const LockFile file = open_file(name, O_RDONLY);
  if (!file || file.try_lock(Hold::kExclusive)) return Hold::kNone;
  return file.try_lock(Hold::kShared) ? Hold::kShared : Hold::kExclusive;
}

void LockDirectory::write(const LockFile& lock, const std::string& text) {
  // Information for people: a full disk must not cost a lease.
  const ssize_t written = ::pwrite(lock.get(), text.data(), text.size(), 0);
  if (written != static_cast<ssize_t>(text.size()) || ::ftruncate(lock.get(), written) != 0) {
    log(LogLevel::kWarning, "the holder of a GPU could not be written into its lock file");
  }
}

void LockDirectory::replace(const std::string& name, const std::string& text) {
  const LockFile file = try_lock(name);
  if (!file || ::ftruncate(file.get(), 0) != 0) return;
  const ssize_t written = ::pwrite(file.get(), text.data(), text.size(), 0);
  if (written != static_cast<ssize_t>(text.size()) && ::ftruncate(file.get(), 0) != 0)
    log(LogLevel::kWarning, path_ + "/" + name + " could not be written");
}

std::optional<std::string> LockDirectory::read(const std::string& name) const {
  const LockFile file = open_file(name, O_RDONLY);
  if (!file) return std::nullopt;
  return read_text(file);
}

std::optional<LockDirectory::Look> LockDirectory::look(const std::string& name) const {
  const LockFile file = open_file(name, O_RDONLY);
  if (!file) return std::nullopt;
  if (file.try_lock(Hold::kExclusive)) return Look{};
  return Look{true, read_text(file)};
}

std::string LockDirectory::read_text(const LockFile& file) {
  std::string text;
  std::array<char, 4096> buffer;  // NOLINT: filled by read
  while (text.size() < kLongestText) {
    const ssize_t size = ::read(file.get(), buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(size));
    if (static_cast<std::size_t>(size) < buffer.size()) break;
  }
  return text;
}

std::vector<std::string> LockDirectory::names(const std::string& prefix) const {
  std::vector<std::string> found;
  UniqueFd copy(::openat(directory_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  DIR* listing = copy ? ::fdopendir(copy.get()) : nullptr;
  if (listing == nullptr) throw_errno("list the lock directory " + path_, errno);
  static_cast<void>(copy.release());  // the listing's now
  while (const dirent* entry = ::readdir(listing)) {
    if (std::string_view(entry->d_name).starts_with(prefix)) found.emplace_back(entry->d_name);
  }
  ::closedir(listing);
  std::sort(found.begin(), found.end());
  return found;
}

UniqueFd LockDirectory::make_watch() const {
  try {
    FAULT("lease.watch");
    UniqueFd watch(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    const std::string self = "/proc/self/fd/" + std::to_string(directory_.get());
    if (watch && ::inotify_add_watch(watch.get(), self.c_str(), IN_CLOSE_WRITE | IN_MODIFY) >= 0)
      return watch;
  } catch (const Error&) {  // only a fault point's
  }
  return {};
}

int LockDirectory::watch() {
  if (watch_) return watch_.get();
  watch_ = make_watch();
  if (!watch_ && !std::exchange(said_blind_, true))
    log(LogLevel::kWarning, "no inotify watch is left: waiting for GPUs by looking at intervals");
  return watch_.get();
}

bool LockDirectory::drain() {
  if (!watch_) return false;
  bool any = false;
  alignas(8) std::array<char, 4096> buffer;  // NOLINT: filled by read
  while (::read(watch_.get(), buffer.data(), buffer.size()) > 0) any = true;
  return any;
}

}  // namespace ionian
