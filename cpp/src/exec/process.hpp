// process.hpp: starting programs, and finding and ending every process of a run.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ionian/fd.hpp"

namespace ionian::process {

/// Every process of a run carries this variable: the run's id, after those of the runs it is nested
/// in: "outer/inner". A worker's own children carry the second one too.
inline constexpr const char* kRunVariable = "IONIAN_RUN";
inline constexpr const char* kWorkerVariable = "IONIAN_WORKER";
/// Names, joined by "=", of what a worker set for itself after its start: values of env=, which may
/// be secrets. They are in nobody's /proc/PID/environ.
inline constexpr const char* kPrivateVariable = "IONIAN_PRIVATE_ENV";

/// What a launcher is called in /proc/PID/comm, while it is one.
inline constexpr const char* kLauncherName = "ionian-launcher";

struct Program {
  std::vector<std::string> argv;
  std::vector<std::string> env;  // "NAME=value", all of it
  std::string cwd;               // "" keeps the caller's; a directory that is gone is ignored
  int stdin_fd = -1;             // -1: /dev/null
  int stdout_fd = -1;            // -1: the caller's
  int stderr_fd = -1;
  std::vector<std::pair<int, int>> fds =
      {};  // {descriptor, number in the program}; numbers from 3 up
  bool new_session = true;
  bool die_with_parent = false;
};
/// Starts a program. Every descriptor not named is closed there. Returns its pid. Throws
/// InvalidError if `argv` is empty, SystemError and the like, also when the exec itself fails.
pid_t start(const Program& program);

/// Raises how many descriptors this process may have as far as it may; programs that it starts get
/// what it had before. Call it once, before threads are made.
void raise_file_limit();

/// Returns `env` with NAME=value set, replacing an earlier value.
void set_variable(std::vector<std::string>& env, const std::string& name, const std::string& value);
/// Returns the value of NAME in `env`, nullopt if it is not there.
std::optional<std::string> variable(const std::vector<std::string>& env, const std::string& name);
/// Returns this process's environment as "NAME=value", less what kPrivateVariable names.
std::vector<std::string> environment();

/// Returns the pids of all processes that /proc shows.
std::vector<pid_t> all();
/// Returns the pids (never our own) whose environment has `name` with `value` as one of the parts
/// between slashes. Sees only processes whose environment we may read.
std::vector<pid_t> find_by_variable(const std::string& name, const std::string& value);
/// Kills those with SIGKILL until none is left or `rounds` scans are done; launchers only in a scan
/// that finds nobody else, because they sweep too: if the caller is killed meanwhile, one of them
/// finishes the work, and two that sweep do not end each other before it is done. Returns how many
/// were killed.
std::size_t sweep(const std::string& name, const std::string& value, int rounds = 20);
/// Returns our children, zombies included.
std::vector<pid_t> children();

/// Returns how often the kernel's OOM killer struck in our memory cgroup, nullopt if it does not
/// say.
std::optional<std::uint64_t> oom_kills();

/// Returns 16 random bytes as hexadecimal: the id of a run.
std::string random_id();

UniqueFd open_pidfd(pid_t pid);  // empty if there is no such process
/// Sends a signal through a pidfd: never to another process that got the same pid.
bool send_signal(const UniqueFd& pidfd, int signal);

}  // namespace ionian::process
