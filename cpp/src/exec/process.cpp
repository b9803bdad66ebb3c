#include "exec/process.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string_view>

#include "base/fault.hpp"
#include "base/syscall.hpp"
#include "ionian/error.hpp"

namespace ionian::process {
namespace {

constexpr int kHigh = 16;  // above every number that a program is given
constexpr std::string_view kDigits = "0123456789abcdef";

/// Pointers for execve; valid while `strings` is unchanged.
std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> result;
  result.reserve(strings.size() + 1);
  for (const auto& text : strings) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

/// Of this program before it raised its own: what it starts gets this again. select() and what
/// closes every descriptor up to the limit are not made for a high one.
std::optional<rlimit> file_limit;

/// Everything between fork and exec. Async-signal-safe only. Reports errno through `report`.
[[noreturn]] void become_program(const Program& program, char* const* argv, char* const* env,
                                 int report, int null_fd, pid_t parent) {
  const auto fail = [report] {
    const int code = errno;
    [[maybe_unused]] const ssize_t written = ::write(report, &code, sizeof(code));
    ::_exit(127);
  };
  if (program.new_session) ::setsid();
  if (program.die_with_parent) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);  // it died before we asked
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int signal : {SIGPIPE, SIGCHLD, SIGTERM, SIGINT}) ::signal(signal, SIG_DFL);
  // Nothing that others left open without close-on-exec may stray into the program.
  ::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  // First move every descriptor out of the way of the target numbers, then put them in place.
  std::array<int, 16> high{};
  std::size_t count = 0;
  const auto lift = [&](int fd) {
    const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, kHigh);
    if (copy < 0 && errno == EINVAL) errno = EMFILE;  // the limit is below the first number to try
    if (copy < 0) fail();
    high[count++] = copy;
    return copy;
  };
  const int in = lift(program.stdin_fd >= 0 ? program.stdin_fd : null_fd);
  const int out = lift(program.stdout_fd >= 0 ? program.stdout_fd : STDOUT_FILENO);
  const int err = lift(program.stderr_fd >= 0 ? program.stderr_fd : STDERR_FILENO);
  const std::size_t first = count;
  for (const auto& [fd, target] : program.fds) lift(fd);
  const int safe_report = lift(report);
  if (::dup2(in, 0) < 0 || ::dup2(out, 1) < 0 || ::dup2(err, 2) < 0) fail();
  for (std::size_t i = 0; i < program.fds.size(); ++i) {
    if (::dup2(high[first + i], program.fds[i].second) < 0) fail();
  }
  if (!program.cwd.empty() && ::chdir(program.cwd.c_str()) != 0) {
    // A directory that is gone is no reason not to run.
  }
  // Last: until the exec, everything that the parent has open is open here.
  if (file_limit) ::setrlimit(RLIMIT_NOFILE, &*file_limit);
  ::execvpe(argv[0], argv, env);
  const int code = errno;
  [[maybe_unused]] const ssize_t written = ::write(safe_report, &code, sizeof(code));
  ::_exit(127);
}

bool has_part(std::string_view value, char separator, std::string_view part) {
  while (!value.empty()) {
    const std::size_t end = value.find(separator);
    if (value.substr(0, end) == part) return true;
    if (end == std::string_view::npos) return false;
    value.remove_prefix(end + 1);
  }
  return false;
}

bool environment_matches(pid_t pid, const std::string& name, const std::string& value) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/environ", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const std::string prefix = name + "=";
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find('\0', at), text.size());
    const std::string_view entry = std::string_view(text).substr(at, end - at);
    if (entry.starts_with(prefix) && has_part(entry.substr(prefix.size()), '/', value)) return true;
    at = end + 1;
  }
  return false;
}

bool is_launcher(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
  std::string name;
  return std::getline(file, name) && name == kLauncherName;
}

}  // namespace

void raise_file_limit() {
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  file_limit = limit;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

pid_t start(const Program& program) {
  if (program.argv.empty()) {
    throw InvalidError("[process] no program to start: argv is empty; give at least its path");
  }
  auto [report_read, report_write] = sys::pipe();
  const UniqueFd null_fd = sys::open("/dev/null", O_RDWR);
  const std::vector<char*> argv = pointers(program.argv);
  const std::vector<char*> env = pointers(program.env);
  const pid_t parent = ::getpid();
  FAULT("process.start");
  const int injected = sys::injected_errno("fork");
  const pid_t pid = injected == 0 ? ::fork() : -1;
  if (pid < 0) throw_errno("start " + program.argv[0], injected == 0 ? errno : injected);
  if (pid == 0) {
    become_program(program, argv.data(), env.data(), report_write.get(), null_fd.get(), parent);
  }
  report_write.reset();
  int code = 0;
  ssize_t size = 0;
  do {
    size = ::read(report_read.get(), &code, sizeof(code));
  } while (size < 0 && errno == EINTR);
  if (size == sizeof(code)) {
    ::waitpid(pid, nullptr, 0);
    throw_errno("start " + program.argv[0], code);
  }
  return pid;
}

void set_variable(std::vector<std::string>& env, const std::string& name,
                  const std::string& value) {
  std::erase_if(env, [&](const std::string& entry) { return entry.starts_with(name + "="); });
  env.push_back(name + "=" + value);
}

std::optional<std::string> variable(const std::vector<std::string>& env, const std::string& name) {
  for (const auto& entry : env) {
    if (entry.starts_with(name + "=")) return entry.substr(name.size() + 1);
  }
  return std::nullopt;
}

std::vector<std::string> environment() {
  std::vector<std::string> env;
  for (char** entry = ::environ; entry != nullptr && *entry != nullptr; ++entry)
    env.emplace_back(*entry);
  const std::string names = variable(env, kPrivateVariable).value_or("");
  std::erase_if(env, [&](const std::string& entry) {
    return has_part(names, '=', std::string_view(entry).substr(0, entry.find('=')));
  });
  return env;
}

std::vector<pid_t> all() {
  std::vector<pid_t> pids;
  DIR* directory = ::opendir("/proc");
  if (directory == nullptr) return pids;
  while (const dirent* entry = ::readdir(directory)) {
    const long pid = std::strtol(entry->d_name, nullptr, 10);
    if (pid > 0) pids.push_back(static_cast<pid_t>(pid));
  }
  ::closedir(directory);
  return pids;
}

std::vector<pid_t> find_by_variable(const std::string& name, const std::string& value) {
  std::vector<pid_t> found;
  const pid_t self = ::getpid();
  for (const pid_t pid : all()) {
    if (pid != self && environment_matches(pid, name, value)) found.push_back(pid);
  }
  return found;
}

std::size_t sweep(const std::string& name, const std::string& value, int rounds) {
  std::set<pid_t> killed;  // one that is slow to die is met in several rounds
  for (int round = 0; round < rounds; ++round) {
    std::vector<pid_t> found = find_by_variable(name, value);
    const auto launchers =
        std::partition(found.begin(), found.end(), [](pid_t pid) { return !is_launcher(pid); });
    if (launchers != found.begin()) found.erase(launchers, found.end());
    bool any = false;
    for (const pid_t pid : found) {
      // The pidfd pins the process; the second look makes sure that it pinned the right one.
      const UniqueFd pidfd = open_pidfd(pid);
      if (!pidfd || !environment_matches(pid, name, value)) continue;
      if (!send_signal(pidfd, SIGKILL)) continue;
      killed.insert(pid);
      any = true;
    }
    if (!any) break;
    ::usleep(500);  // who is their parent reaps them: other children are none of our business
  }
  return killed.size();
}

std::vector<pid_t> children() {
  std::vector<pid_t> result;
  const std::string path = "/proc/self/task/" + std::to_string(::syscall(SYS_gettid)) + "/children";
  std::ifstream file(path);
  pid_t pid = 0;
  while (file >> pid) result.push_back(pid);
  return result;
}

std::optional<std::uint64_t> oom_kills() {
  std::ifstream groups("/proc/self/cgroup");
  std::string line;
  while (std::getline(groups, line)) {
    const bool v2 = line.starts_with("0::");
    const std::size_t v1 = line.find(":memory:");
    if (!v2 && v1 == std::string::npos) continue;
    const std::string path =
        v2 ? "/sys/fs/cgroup" + line.substr(3) + "/memory.events"
           : "/sys/fs/cgroup/memory" + line.substr(v1 + 8) + "/memory.oom_control";
    std::ifstream file(path);
    std::string key;
    std::uint64_t count = 0;
    while (file >> key >> count) {
      if (key == "oom_kill") return count;
    }
  }
  return std::nullopt;
}

std::string random_id() {
  std::array<unsigned char, 16> bytes{};
  std::size_t filled = 0;
  while (filled < bytes.size()) {
    const ssize_t got = ::getrandom(bytes.data() + filled, bytes.size() - filled, 0);
    if (got > 0) filled += static_cast<std::size_t>(got);
  }
  std::string text;
  for (const unsigned char byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

UniqueFd open_pidfd(pid_t pid) {
  return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

bool send_signal(const UniqueFd& pidfd, int signal) {
  return pidfd && ::syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0) == 0;
}

}  // namespace ionian::process
