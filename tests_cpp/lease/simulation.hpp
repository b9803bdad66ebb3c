// simulation.hpp: the allocator that decides in production, under a seeded stream of events, with
// its invariants (support/allocator_ledger.hpp) checked after every one.
//
// A run is made of episodes, each on a machine of its own and with a seed of its own, so what fails
// is found again at once: `simulation --seed S --episode E`.
#pragma once

#include <cstdint>
#include <string>

namespace ionian::simulation {

inline constexpr std::uint64_t kEpisode = 20'000;  // events

struct Result {
  std::uint64_t events = 0;
  std::uint64_t grants = 0;
  std::uint64_t deaths = 0;
  std::uint64_t restarts = 0;
  std::uint64_t longest_wait = 0;  // in events
  std::string violation;           // "" if there is none
};

/// Runs one episode of at most `events` events; ends at the first violation, which names the event.
/// With `trace` the last events are in it too.
Result run_episode(std::uint64_t seed, std::uint64_t episode, std::uint64_t events = kEpisode,
                   bool trace = false);

}  // namespace ionian::simulation
