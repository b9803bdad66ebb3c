// pool_policy.hpp: how many workers a pool should have. Pure: values in, a number out.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace ionian {

struct PoolLimits {
  std::size_t min_containers = 0;
  std::size_t max_containers = 0;  // 0: no limit of its own
  std::size_t buffer_containers = 0;
  std::size_t capacity = 1;  // what the machine can hold at once: GPU sets, or CPUs
};

struct PoolLoad {
  std::size_t queued = 0;    // calls with no worker yet
  std::size_t starting = 0;  // workers asked for: waiting for GPUs, or not ready
  std::size_t idle = 0;
  std::size_t busy = 0;
  double mean_call_s = 0;  // of recent calls; 0 if none has ended
};

/// A worker costs about this long to start; a backlog that drains sooner is not worth one more.
inline constexpr double kStartCostSeconds = 0.002;
/// Short calls are sent ahead of their turn, up to this much work, so that a worker never waits.
inline constexpr double kPrefetchSeconds = 0.0002;
inline constexpr std::size_t kMaxPrefetch =
    48;  // below the ring's slots: a revoked one holds its slot

/// Returns the most workers the pool may have.
inline std::size_t most_workers(const PoolLimits& limits) {
  const std::size_t most = limits.max_containers == 0
                               ? limits.capacity
                               : std::min(limits.max_containers, limits.capacity);
  return std::max({most, limits.min_containers, std::size_t{1}});
}

/// Returns how many workers the pool should have, starting ones included.
///
/// One for each busy one and one for each queued call, up to the limit, unless the calls are so
/// short that the workers there are drain the queue before another could start: 10,000 calls of 1
/// us on one worker take 10 ms, so a second is wanted; 100 of them take 0.1 ms, so it is not.
inline std::size_t wanted_workers(const PoolLimits& limits, const PoolLoad& load) {
  const std::size_t live = load.busy + load.idle;
  std::size_t demand = load.queued;
  if (live > 0 && load.mean_call_s > 0) {
    const double drain_s =
        static_cast<double>(load.queued) * load.mean_call_s / static_cast<double>(live);
    if (drain_s < kStartCostSeconds) demand = 0;
  }
  if (load.busy + load.queued > 0) demand += limits.buffer_containers;
  const std::size_t wanted = load.busy + demand;
  return std::clamp(wanted, std::min(limits.min_containers, most_workers(limits)),
                    most_workers(limits));
}

/// Returns how many calls one worker may hold at once, the running one included.
inline std::size_t prefetch_depth(double mean_call_s) {
  if (mean_call_s <= 0) return 1;
  return std::clamp<std::size_t>(static_cast<std::size_t>(kPrefetchSeconds / mean_call_s), 1,
                                 kMaxPrefetch);
}

}  // namespace ionian
