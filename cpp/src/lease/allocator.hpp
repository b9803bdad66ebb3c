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
//
// A decision looks only at what an event has changed, and costs the same on eight GPUs as on a
// million: a kind of GPUs that has got a free one is offered to the oldest request that claims all
// of it (and to those before it that claim a part); nobody behind may have it. A worked example:
//
//   waiting, oldest first:   1: "H100:8"    2: ["H100:2", "A10G"]    3: "A10G"
//   line of kind H100:       1, 2           line of kind A10G:       2, 3
//
//   An A10G is given back: its line is asked from the front. Request 2 may not have H100s, for 1
//   claims them all, but is granted the A10G; its claims end, and 3 is the next to be asked.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <variant>
#include <vector>

#include "lease/allocator_state.hpp"

namespace ionian::allocator {

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
/// Time passed.
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

/// Applies `event` to `state` and appends what follows to `effects`. `now` never goes back.
///
/// Events about requests, leases or GPUs that are not in a state to which they apply change
/// nothing: a message that comes twice does no harm. Of a request that comes once more after its
/// end nobody can know that it is old: whoever gets a grant that he does not want gives it back.
void step(State& state, const Event& event, TimePoint now, std::vector<Effect>& effects);
std::vector<Effect> step(State& state, const Event& event, TimePoint now);

}  // namespace ionian::allocator
