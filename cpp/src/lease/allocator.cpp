#include "lease/allocator.hpp"

#include <algorithm>
#include <utility>

#include "lease/policy.hpp"

namespace ionian::allocator {
namespace {

using Effects = std::vector<Effect>;

class Step {
 public:
  Step(State& state, TimePoint now) : state_(state), now_(now) {}

  void operator()(const Request& event) {
    const auto& alternatives = event.waiting.alternatives;
    const bool possible =
        std::any_of(alternatives.begin(), alternatives.end(),
                    [&](const auto& each) { return policy::possible(state_.machine, each); });
    if (possible) {
      state_.queue.push_back(event.waiting);
    } else {
      effects_.push_back(Reject{event.waiting.request});
    }
  }

  void operator()(const Cancel& event) {
    std::erase_if(state_.queue, [&](const Waiting& each) { return each.request == event.request; });
  }

  void operator()(const ClientDied& event) {
    std::erase_if(state_.queue, [&](const Waiting& each) { return each.client == event.client; });
    std::vector<std::uint64_t> orphans;
    for (const auto& [request, lease] : state_.leases) {
      if (lease.client == event.client) orphans.push_back(request);
    }
    for (const std::uint64_t request : orphans) (*this)(Release{request});
  }

  void operator()(const Release& event) {
    const auto found = state_.leases.find(event.request);
    if (found == state_.leases.end()) return;
    for (const std::size_t index : found->second.gpus) {
      Gpu& gpu = state_.gpus[index];
      if (gpu.lost) {
        quarantine(index);
      } else {
        gpu = {GpuState::kDraining, 0, now_ + kDrainLimit, false};
        effects_.push_back(Drain{index});
      }
    }
    state_.leases.erase(found);
  }

  void operator()(const Held& event) {
    if (state_.leases.contains(event.request)) return;
    Leased lease{event.client, {}};
    for (const std::size_t index : event.gpus) {
      Gpu& gpu = state_.gpus[index];
      if (gpu.state == GpuState::kLeased) continue;
      gpu = {GpuState::kLeased, event.request, {}, false};
      lease.gpus.push_back(index);
    }
    if (!lease.gpus.empty()) state_.leases.emplace(event.request, std::move(lease));
  }

  void operator()(const Drained& event) { move(event.gpu, GpuState::kDraining, GpuState::kFree); }
  void operator()(const StrangerCame& event) {
    move(event.gpu, GpuState::kFree, GpuState::kBusyExternal);
  }
  void operator()(const StrangerLeft& event) {
    move(event.gpu, GpuState::kBusyExternal, GpuState::kFree);
  }
  void operator()(const GpuRecovered& event) {
    state_.gpus[event.gpu].lost = false;
    move(event.gpu, GpuState::kQuarantined, GpuState::kFree);
  }

  void operator()(const GpuLost& event) {
    Gpu& gpu = state_.gpus[event.gpu];
    if (gpu.state == GpuState::kLeased) {
      gpu.lost = true;  // its holder finds out by itself, and gives it back
    } else if (gpu.state != GpuState::kQuarantined) {
      quarantine(event.gpu);
    }
  }

  void operator()(const Tick&) {
    for (std::size_t i = 0; i < state_.gpus.size(); ++i) {
      const Gpu& gpu = state_.gpus[i];
      if (gpu.state == GpuState::kDraining && gpu.until <= now_) quarantine(i);
    }
  }

  /// Grants what can be granted, oldest first.
  Effects decide() {
    if (state_.queue.empty()) return std::move(effects_);
    std::vector<bool> free(state_.gpus.size());
    for (std::size_t i = 0; i < free.size(); ++i) free[i] = state_.gpus[i].state == GpuState::kFree;
    for (auto waiting = state_.queue.begin(); waiting != state_.queue.end();) {
      waiting = grant(*waiting, free) ? state_.queue.erase(waiting) : std::next(waiting);
    }
    return std::move(effects_);
  }

 private:
  void move(std::size_t index, GpuState from, GpuState to) {
    Gpu& gpu = state_.gpus[index];
    if (gpu.state == from) gpu = {to, 0, {}, false};
  }

  void quarantine(std::size_t index) {
    state_.gpus[index] = {GpuState::kQuarantined, 0, {}, false};
    effects_.push_back(Quarantine{index});
  }

  /// Grants `waiting` if it fits what is `free`; else takes all that it could use out of `free`.
  bool grant(const Waiting& waiting, std::vector<bool>& free) {
    for (std::size_t i = 0; i < waiting.alternatives.size(); ++i) {
      auto gpus = policy::choose(state_.machine, waiting.alternatives[i], free);
      if (!gpus) continue;
      for (const std::size_t index : *gpus) {
        free[index] = false;
        state_.gpus[index] = {GpuState::kLeased, waiting.request, {}, false};
      }
      state_.leases[waiting.request] = {waiting.client, *gpus};
      effects_.push_back(Grant{waiting.request, i, std::move(*gpus)});
      return true;
    }
    for (const Alternative& alternative : waiting.alternatives) {
      if (!policy::possible(state_.machine, alternative)) continue;
      for (const std::size_t index : alternative.gpus) free[index] = false;
    }
    return false;
  }

  State& state_;
  TimePoint now_;
  Effects effects_;
};

}  // namespace

std::vector<Effect> step(State& state, const Event& event, TimePoint now) {
  Step run(state, now);
  std::visit(run, event);
  return run.decide();
}

}  // namespace ionian::allocator
