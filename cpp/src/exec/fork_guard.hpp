// fork_guard.hpp: tells a process from a child that was forked from it, without a system call.
#pragma once

#include <cstdint>

namespace ionian::fork_guard {

/// Returns how many forks lie between the first process and this one. Async-signal-safe.
std::uint64_t generation();

}  // namespace ionian::fork_guard
