#include "exec/mps.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string_view>
#include <thread>

#include "base/syscall.hpp"
#include "exec/process.hpp"
#include "ionian/error.hpp"
#include "ionian/log.hpp"

namespace ionian {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr const char* kProgram = "nvidia-cuda-mps-control";
constexpr const char* kPipes = "CUDA_MPS_PIPE_DIRECTORY";
constexpr const char* kLogs = "CUDA_MPS_LOG_DIRECTORY";
constexpr std::string_view kPrefix = "mps-";
constexpr milliseconds kStartTime{3000};

/// Waits for the end of a child, or with WNOHANG looks whether it has come. Returns whether the
/// child is gone; whoever else waits for all children may have been faster.
bool ended(const UniqueFd& child, int flags) {
  constexpr auto pidfd = static_cast<idtype_t>(3);  // P_PIDFD, which glibc before 2.36 lacks
  siginfo_t info{};
  const int result = ::waitid(pidfd, static_cast<id_t>(child.get()), &info, WEXITED | flags);
  return result != 0 || info.si_pid != 0;
}

/// Returns the control program, "" if there is none.
std::string find_program() {
  const char* path = std::getenv("PATH");
  std::istringstream places(std::string(path == nullptr ? "" : path) +
                            ":/usr/bin:/usr/local/nvidia/bin");
  std::string place;
  while (std::getline(places, place, ':')) {
    std::string file = place + "/" + kProgram;
    if (place.starts_with('/') && ::access(file.c_str(), X_OK) == 0) return file;
  }
  return "";
}

/// Returns a directory that is ours alone, "" if there is none. Never one that others can write to:
/// sockets lie in it.
std::string private_directory() {
  const auto ours = [](const std::string& path) {
    struct stat info {};
    return ::lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode) &&
           info.st_uid == ::geteuid() && (info.st_mode & 0022) == 0;
  };
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  const char* home = std::getenv("HOME");
  std::string base;
  if (runtime != nullptr && *runtime == '/' && ours(runtime)) {
    base = runtime;
  } else if (home != nullptr && *home == '/' && ours(home)) {
    base = std::string(home) + "/.cache";
  } else {
    return "";
  }
  std::error_code error;
  fs::create_directories(base + "/ionian", error);
  return ours(base + "/ionian") ? base + "/ionian" : "";
}

/// Takes the lock of a directory of ours; empty if a living process has it.
UniqueFd lock_of(const std::string& directory) {
  UniqueFd file(
      ::open((directory + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file || ::flock(file.get(), LOCK_EX | LOCK_NB) != 0) return {};
  return file;
}

/// Removes what killed processes have left.
void remove_stale(const std::string& base) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(base, error)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with(kPrefix)) continue;
    if (const UniqueFd lock = lock_of(entry.path())) fs::remove_all(entry.path(), error);
  }
}

}  // namespace

std::unique_ptr<Mps> Mps::start(const std::string& run) {
  const char* wanted = std::getenv("IONIAN_MPS");
  if (wanted != nullptr && std::string_view(wanted) == "0") return nullptr;
  const std::string program = find_program();
  const std::string base = program.empty() ? "" : private_directory();
  if (base.empty()) return nullptr;
  remove_stale(base);
  const std::string directory = base + "/" + std::string(kPrefix) + run;
  ::mkdir(directory.c_str(), 0700);
  UniqueFd lock = lock_of(directory);
  if (!lock) return nullptr;
  std::unique_ptr<Mps> mps(new Mps(directory, std::move(lock)));
  try {
    process::Program daemon;
    daemon.argv = {program, "-f"};
    daemon.env = process::environment();
    std::erase_if(daemon.env,
                  [](const auto& entry) { return entry.starts_with("CUDA_VISIBLE_DEVICES="); });
    process::set_variable(daemon.env, kPipes, directory);
    process::set_variable(daemon.env, kLogs, directory);
    const UniqueFd nothing = sys::open("/dev/null", O_RDWR);
    daemon.stdout_fd = daemon.stderr_fd = nothing.get();
    daemon.die_with_parent = true;
    const pid_t pid = process::start(daemon);
    mps->daemon_ = process::open_pidfd(pid);
    if (!mps->daemon_) {
      ::kill(pid, SIGKILL);
      throw_errno("watch " + program, EMFILE);
    }
  } catch (const Error& error) {
    log(LogLevel::kWarning, std::string("MPS was not started: ") + error.what());
    return nullptr;
  }
  const auto deadline = sys::Clock::now() + kStartTime;
  while (::access((directory + "/control").c_str(), F_OK) != 0) {
    if (ended(mps->daemon_, WNOHANG) || sys::Clock::now() > deadline) {
      log(LogLevel::kWarning, "MPS did not start: " + program + " made no control socket");
      return nullptr;
    }
    std::this_thread::sleep_for(milliseconds(5));
  }
  return mps;
}

Mps::~Mps() {
  // By its descriptor: it may have ended and been reaped, and its number be another's.
  if (process::send_signal(daemon_, SIGKILL)) ended(daemon_, 0);
  // The server carries the same variable. Its clients have ended: nobody else does.
  process::sweep(kPipes, fs::path(directory_).filename());
  std::error_code error;
  fs::remove_all(directory_, error);
}

std::vector<std::string> Mps::environment() const {
  return {std::string(kPipes) + "=" + directory_, std::string(kLogs) + "=" + directory_};
}

}  // namespace ionian
