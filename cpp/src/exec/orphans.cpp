#include "exec/orphans.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <sstream>
#include <string_view>

#include "exec/process.hpp"

namespace ionian::orphans {
namespace {

constexpr int kLooks = 20;
constexpr std::string_view kGuardian = "ionian-guardian";

std::vector<std::string_view> parts(std::string_view run) {
  std::vector<std::string_view> result;
  while (!run.empty()) {
    const std::size_t slash = run.find('/');
    if (slash != 0) result.push_back(run.substr(0, slash));
    if (slash == std::string_view::npos) break;
    run.remove_prefix(slash + 1);
  }
  return result;
}

std::string file_of(pid_t pid, const char* name) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// Returns the environment of a process of ours, "" if it does not say.
std::string environment_of(pid_t pid) {
  struct stat info {};
  const std::string directory = "/proc/" + std::to_string(pid);
  if (::stat(directory.c_str(), &info) != 0 || info.st_uid != ::geteuid()) return "";
  return file_of(pid, "environ");
}

std::string value_of(const std::string& environment, const std::string& name) {
  const std::string text = '\0' + environment;
  const std::string prefix = '\0' + name + "=";
  const std::size_t at = text.find(prefix);
  if (at == std::string::npos) return "";
  const std::size_t begin = at + prefix.size();
  return text.substr(begin, text.find('\0', begin) - begin);
}

/// Returns the runs that a process of ours is of, "" if it is of none or does not say.
std::string run_of(pid_t pid) { return value_of(environment_of(pid), process::kRunVariable); }

bool is_guardian(pid_t pid) { return file_of(pid, "comm") == std::string(kGuardian) + "\n"; }

/// Returns whether a process is ours and has not ended. Says so also of one that hides its
/// environment.
bool lives_and_is_ours(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with("State:\tZ") || line.starts_with("State:\tX")) return false;
    uid_t real = 0;
    uid_t effective = 0;
    if (line.starts_with("Uid:") && std::istringstream(line.substr(4)) >> real >> effective)
      return effective == ::geteuid();
  }
  return false;
}

/// Returns this user's processes that are of a run with our lock directory, and all guardians;
/// nullopt if a guardian does not say which run is its own: then nobody can be called an orphan.
std::optional<std::vector<Seen>> look() {
  const char* directory = std::getenv("IONIAN_LOCK_DIR");
  const std::string ours = directory == nullptr ? "" : directory;
  std::vector<Seen> seen;
  for (const pid_t pid : process::all()) {
    const std::string environment = environment_of(pid);
    std::string run = value_of(environment, process::kRunVariable);
    if (run.empty() || pid == ::getpid() || value_of(environment, "IONIAN_LOCK_DIR") != ours)
      continue;
    seen.push_back({pid, std::move(run), false});
  }
  if (seen.empty()) return seen;
  // Guardians come second: one that is older than a process found above is still there, or its
  // run has ended.
  for (const pid_t pid : process::all()) {
    if (!is_guardian(pid)) continue;
    std::string run = run_of(pid);
    if (!lives_and_is_ours(pid)) continue;
    if (run.empty()) return std::nullopt;
    seen.push_back({pid, std::move(run), true});
  }
  return seen;
}

}  // namespace

std::vector<pid_t> choose(const std::vector<Seen>& processes, const std::string& own) {
  std::set<std::string_view> alive;
  for (const auto part : parts(own)) alive.insert(part);
  for (const auto& process : processes) {
    const auto runs = parts(process.run);
    if (process.guardian && !runs.empty()) alive.insert(runs.back());
  }
  std::set<pid_t> found;
  for (const auto& process : processes) {
    for (const auto part : parts(process.run)) {
      if (!alive.contains(part)) found.insert(process.pid);
    }
  }
  return {found.begin(), found.end()};
}

std::size_t end(const std::string& own) noexcept try {
  std::size_t ended = 0;
  for (int round = 0; round < kLooks; ++round) {
    const auto seen = look();
    if (!seen) {  // one that is about to end has no environment any more: look again
      ::usleep(5000);
      continue;
    }
    const std::vector<pid_t> left = choose(*seen, own);
    std::size_t now = 0;
    for (const auto& process : *seen) {
      if (std::find(left.begin(), left.end(), process.pid) == left.end()) continue;
      // The pidfd pins the process; the second look makes sure that it pinned the right one.
      const UniqueFd pidfd = process::open_pidfd(process.pid);
      if (pidfd && run_of(process.pid) == process.run && process::send_signal(pidfd, SIGKILL))
        ++now;
    }
    if (now == 0) return ended;
    ended += now;
    ::usleep(500);
  }
  return ended;
} catch (...) {
  return 0;  // no memory or no descriptor for it: the next guardian looks again
}

}  // namespace ionian::orphans
