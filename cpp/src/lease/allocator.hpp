// allocator.hpp: who gets which GPUs, as a pure function: step(state, event, now) → effects.
//
// No clock, lock, environment or hardware: the same code decides in production and in a simulation.
//
//   FREE → LEASED → DRAINING → FREE
//     │       │         └─ (does not drain, or is lost) → QUARANTINED → (recovered) → FREE
//     └─ BUSY_EXTERNAL while a process outside ionian uses it
//
// Requests are served in the order in which they came. One that cannot be granted reserves every
// GPU that it could use, so that a younger request passes only on GPUs which no older one can use:
// a big gang is never starved by small requests.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <variant>
#include <vector>

#include "lease/machine.hpp"

namespace ionian::allocator {

using TimePoint = std::chrono::steady_clock::time_point;

enum class GpuState { kFree, kLeased, kDraining, kQuarantined, kBusyExternal };

struct Gpu {
  GpuState state = GpuState::kFree;
  std::uint64_t lease = 0;  // kLeased
  TimePoint until{};        // kDraining: when we stop waiting for it to drain
  bool lost = false;        // kLeased: goes to quarantine when it is given back
};

struct Waiting {
  std::uint64_t request = 0;
  std::uint64_t client = 0;
  std::vector<Alternative> alternatives;
};

struct Leased {
  std::uint64_t client = 0;
  std::vector<std::size_t> gpus;
};

/// Everything there is to know. Copy it to ask "what if".
struct State {
  explicit State(Machine machine_) : machine(std::move(machine_)), gpus(machine.size()) {}
  Machine machine;
  std::vector<Gpu> gpus;
  std::deque<Waiting> queue;               // oldest first
  std::map<std::uint64_t, Leased> leases;  // by request
};

// Events: what happened.
struct Request {
  Waiting waiting;
};
struct Cancel {
  std::uint64_t request = 0;
};
struct ClientDied {
  std::uint64_t client = 0;
};
struct Release {
  std::uint64_t request = 0;
};
/// Somebody else's lease was found on these GPUs, e.g. after a restart.
struct Held {
  std::uint64_t request = 0;
  std::uint64_t client = 0;
  std::vector<std::size_t> gpus;
};
struct Drained {
  std::size_t gpu = 0;
};
struct StrangerCame {
  std::size_t gpu = 0;
};
struct StrangerLeft {
  std::size_t gpu = 0;
};
struct GpuLost {
  std::size_t gpu = 0;
};
struct GpuRecovered {
  std::size_t gpu = 0;
};
/// Time passed; also: decide again.
struct Tick {};
using Event = std::variant<Request, Cancel, ClientDied, Release, Held, Drained, StrangerCame,
                           StrangerLeft, GpuLost, GpuRecovered, Tick>;

// Effects: what the shell must do.
struct Grant {
  std::uint64_t request = 0;
  std::size_t alternative = 0;
  std::vector<std::size_t> gpus;
  bool operator==(const Grant&) const = default;
};
/// No alternative can ever be granted on this machine.
struct Reject {
  std::uint64_t request = 0;
  bool operator==(const Reject&) const = default;
};
/// Look whether the GPU is empty and say `Drained`.
struct Drain {
  std::size_t gpu = 0;
  bool operator==(const Drain&) const = default;
};
/// It did not drain, or is lost: probe it until it answers, then say `GpuRecovered`.
struct Quarantine {
  std::size_t gpu = 0;
  bool operator==(const Quarantine&) const = default;
};
using Effect = std::variant<Grant, Reject, Drain, Quarantine>;

inline constexpr std::chrono::seconds kDrainLimit{10};

/// Applies `event` to `state` and returns what follows. Events about requests, leases or GPUs that
/// are not in a state to which they apply change nothing: a message that comes twice does no harm.
std::vector<Effect> step(State& state, const Event& event, TimePoint now);

}  // namespace ionian::allocator
