// orphans.hpp: processes of runs whose guardian is gone.
//
// A guardian ends everything of its run before it lets the GPUs go. If the guardian itself is
// killed, the launcher and the caller do it. Killed all at once, they leave what a function hid in
// a session of its own, and nobody is there to see. So each guardian begins by ending what runs of
// the same user have left. Nothing is written down for it, so nothing can be forged or go stale:
// a process says in its environment which runs it is of, and a run lives while its guardian does.
// Runs with another lock directory (IONIAN_LOCK_DIR) share no GPU with ours and are left alone.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <vector>

namespace ionian::orphans {

struct Seen {
  pid_t pid = 0;
  std::string run;  // "outer/inner", as in its environment
  bool guardian = false;
};

/// Returns the pids of those that are of a run without a guardian. Runs named in `own` count as
/// alive: a guardian inside a container does not see those of the outer runs. Pure.
std::vector<pid_t> choose(const std::vector<Seen>& processes, const std::string& own);

/// Ends the orphans of this user's runs with SIGKILL, until none is left or 20 looks are done;
/// `own` is the caller's own run. Returns how many were ended. Never throws: what cannot be read is
/// left alone.
std::size_t end(const std::string& own) noexcept;

}  // namespace ionian::orphans
