#include "lease/allocator.hpp"

#include <algorithm>
#include <utility>

namespace ionian::allocator {

using Effects = std::vector<Effect>;

class Step {
 public:
  Step(State& state, TimePoint now, Effects& effects)
      : state_(state),
        now_(now),
        effects_(effects),
        candidates_(state.scratch_.candidates),
        ahead_(state.scratch_.ahead),
        chosen_(state.scratch_.chosen) {}

  void operator()(const Request& event) {
    const Waiting& waiting = event.waiting;
    if (state_.entries_by_request_.find(waiting.request) != kNone) return;
    if (waiting.demand == nullptr || waiting.demand->tries.empty()) {
      effects_.emplace_back(Reject{waiting.request});
      return;
    }
    const std::uint32_t entry = state_.add_entry(waiting.request, waiting.client);
    state_.entries_[entry].demand = waiting.demand;
    if (!grant(entry)) state_.enqueue(entry);
  }

  void operator()(const Cancel& event) {
    const std::uint32_t entry = state_.entries_by_request_.find(event.request);
    if (entry != kNone && state_.is_waiting(entry)) leave(entry);
  }

  void operator()(const ClientDied& event) {
    for (;;) {
      const std::uint32_t entry = state_.entries_by_client_.find(event.client);
      if (entry == kNone) return;
      state_.is_waiting(entry) ? leave(entry) : give_back(entry);
    }
  }

  void operator()(const Release& event) {
    const std::uint32_t entry = state_.entries_by_request_.find(event.request);
    if (entry != kNone && !state_.is_waiting(entry)) give_back(entry);
  }

  void operator()(const Held& event) {
    if (state_.entries_by_request_.find(event.request) != kNone) return;
    std::uint32_t entry = kNone;
    std::uint32_t* link = nullptr;
    for (const std::size_t gpu : event.gpus) {
      if (gpu >= state_.size() || state_.gpu(gpu) == GpuState::kLeased) continue;
      if (entry == kNone) {
        entry = state_.add_entry(event.request, event.client);
        ++state_.leases_;
        link = &state_.entries_[entry].gpus;
      }
      const bool lost = state_.gpu(gpu) == GpuState::kQuarantined;
      link = take(static_cast<std::uint32_t>(gpu), entry, link);
      state_.gpus_[gpu].lost = lost;
    }
  }

  void operator()(const Drained& event) { move(event.gpu, GpuState::kDraining, GpuState::kFree); }
  void operator()(const StrangerCame& event) {
    move(event.gpu, GpuState::kFree, GpuState::kBusyExternal);
  }
  void operator()(const StrangerLeft& event) {
    move(event.gpu, GpuState::kBusyExternal, GpuState::kFree);
  }
  void operator()(const GpuRecovered& event) {
    if (event.gpu >= state_.size()) return;
    state_.gpus_[event.gpu].lost = false;
    move(event.gpu, GpuState::kQuarantined, GpuState::kFree);
  }

  void operator()(const GpuLost& event) {
    if (event.gpu >= state_.size()) return;
    if (state_.gpu(event.gpu) == GpuState::kLeased) {
      state_.gpus_[event.gpu].lost = true;  // its holder finds out by itself, and gives it back
    } else if (state_.gpu(event.gpu) != GpuState::kQuarantined) {
      quarantine(static_cast<std::uint32_t>(event.gpu));
    }
  }

  void operator()(const Tick&) {
    while (state_.draining_.head != kNone && state_.gpus_[state_.draining_.head].until <= now_) {
      quarantine(state_.draining_.head);
    }
  }

  /// Grants what can be granted of the kinds that have changed, oldest request first.
  void decide() {
    offer_changed(0);
    while (!candidates_.empty()) {
      std::pop_heap(candidates_.begin(), candidates_.end(), younger);
      const auto [arrival, entry] = candidates_.back();
      candidates_.pop_back();
      if (!state_.is_waiting(entry) || !grant(entry)) continue;
      offer_changed(arrival);
    }
  }

 private:
  using Candidate = State::Candidate;
  static bool younger(const Candidate& a, const Candidate& b) { return a.arrival > b.arrival; }

  // ---- GPUs

  void move(std::size_t gpu, GpuState from, GpuState to) {
    if (gpu < state_.size() && state_.gpu(gpu) == from) {
      state_.set_gpu(static_cast<std::uint32_t>(gpu), to);
    }
  }

  void quarantine(std::uint32_t gpu) {
    state_.set_gpu(gpu, GpuState::kQuarantined);
    effects_.emplace_back(Quarantine{gpu});
  }

  /// Returns where the lease's next GPU goes.
  std::uint32_t* take(std::uint32_t gpu, std::uint32_t entry, std::uint32_t* link) {
    state_.set_gpu(gpu, GpuState::kLeased);
    state_.gpus_[gpu].entry = entry;
    *link = gpu;
    return &state_.gpus_[gpu].next;
  }

  // ---- requests

  void leave(std::uint32_t entry) {
    state_.dequeue(entry);
    state_.entries_[entry].demand.reset();
    state_.remove_entry(entry);
  }

  void give_back(std::uint32_t entry) {
    std::uint32_t gpu = std::exchange(state_.entries_[entry].gpus, kNone);
    while (gpu != kNone) {
      const std::uint32_t next = state_.gpus_[gpu].next;
      if (state_.gpus_[gpu].lost) {
        quarantine(gpu);
      } else {
        state_.drain(gpu, now_ + kDrainLimit);
        effects_.emplace_back(Drain{gpu});
      }
      gpu = next;
    }
    --state_.leases_;
    state_.remove_entry(entry);
  }

  /// Of each kind that has changed, those that may have it and came after `arrival` are asked
  /// again.
  void offer_changed(std::uint64_t arrival) {
    while (!state_.changed_.empty()) {
      State::Pool& pool = state_.pools_[state_.changed_.back()];
      state_.changed_.pop_back();
      pool.changed = false;
      if (pool.free == 0) continue;
      for (std::uint32_t at = pool.line.head; at != kNone; at = state_.places_[at].next) {
        const State::Place& place = state_.places_[at];
        const State::Entry& entry = state_.entries_[place.entry];
        if (entry.arrival > arrival) {
          candidates_.push_back({entry.arrival, place.entry});
          std::push_heap(candidates_.begin(), candidates_.end(), younger);
        }
        if (entry.demand->claims[place.claim].whole()) break;
      }
    }
  }

  /// Grants the first alternative of a request that fits what is free and not claimed by an older
  /// one. The request may stand in the queue, or be about to.
  bool grant(std::uint32_t index) {
    const Demand& demand = *state_.entries_[index].demand;
    for (const Try& each : demand.tries) {
      if (state_.pools_[each.kind].free < each.count || !is_open(each.kind, index)) continue;
      const std::uint32_t group = each.whole() ? pick_any(each) : pick_listed(each, demand);
      if (group == kNone) continue;
      lease(index, each, group);
      return true;
    }
    return false;
  }

  /// Takes `granted` by value: it is of the demand, which may end here.
  void lease(std::uint32_t index, Try granted, std::uint32_t group) {
    State::Entry& entry = state_.entries_[index];
    if (entry.places != kNone) state_.dequeue(index);
    entry.demand.reset();
    ++state_.leases_;
    const Group& of = state_.layout().groups()[group];
    const Kind& kind = state_.layout().kinds()[of.kind];
    Grant effect{entry.request, granted.alternative, {}};
    effect.gpus.reserve(granted.count);
    std::uint32_t* link = &entry.gpus;
    for (const std::uint32_t position : chosen_) {
      const std::uint32_t gpu = of.first + kind.offsets[position];
      link = take(gpu, index, link);
      effect.gpus.push_back(gpu);
    }
    effects_.emplace_back(std::move(effect));
  }

  /// Returns whether no older request claims all of a kind; `ahead_` are those that claim a part.
  bool is_open(std::uint32_t kind, std::uint32_t index) {
    ahead_.clear();
    for (std::uint32_t at = state_.pools_[kind].line.head; at != kNone;
         at = state_.places_[at].next) {
      const State::Place& place = state_.places_[at];
      if (place.entry == index) break;
      const Demand& demand = *state_.entries_[place.entry].demand;
      const Share& claim = demand.claims[place.claim];
      if (claim.whole()) return false;
      ahead_.push_back({&demand, &claim});
    }
    return true;
  }

  [[nodiscard]] bool is_available(std::uint32_t gpu) const {
    if (state_.gpu(gpu) != GpuState::kFree) return false;
    return std::none_of(ahead_.begin(), ahead_.end(), [&](const State::Ahead& each) {
      const auto gpus = each.demand->gpus.begin();
      return std::binary_search(gpus + each.share->begin, gpus + each.share->end, gpu);
    });
  }

  // Both return the group with the fewest GPUs available of those that have enough, so that big
  // gangs find whole hosts; `chosen_` are the positions to take. kNone if no group has enough.

  std::uint32_t pick_any(const Try& wanted) {
    const State::Pool& pool = state_.pools_[wanted.kind];
    const Kind& kind = state_.layout().kinds()[wanted.kind];
    for (std::size_t free = wanted.count; free < pool.by_free.size(); ++free) {
      for (std::uint32_t group = pool.by_free[free]; group != kNone;
           group = state_.stocks_[group].next) {
        chosen_.clear();
        const std::uint32_t first = state_.layout().groups()[group].first;
        for (std::uint32_t position = 0; position < kind.size(); ++position) {
          if (is_available(first + kind.offsets[position])) chosen_.push_back(position);
        }
        if (chosen_.size() < wanted.count) continue;  // others claim some of them
        kind.shape.choose(chosen_, wanted.count);
        return group;
      }
    }
    return kNone;
  }

  std::uint32_t pick_listed(const Try& wanted, const Demand& demand) {
    const Kind& kind = state_.layout().kinds()[wanted.kind];
    std::uint32_t best = kNone;
    policy::Shape::Positions here;
    for (std::uint32_t i = wanted.begin; i < wanted.end;) {
      const std::uint32_t group = state_.layout().group_of(demand.gpus[i]);
      const std::uint32_t first = state_.layout().groups()[group].first;
      here.clear();
      for (; i < wanted.end && state_.layout().group_of(demand.gpus[i]) == group; ++i) {
        if (!is_available(demand.gpus[i])) continue;
        const auto at =
            std::lower_bound(kind.offsets.begin(), kind.offsets.end(), demand.gpus[i] - first);
        here.push_back(static_cast<std::uint32_t>(at - kind.offsets.begin()));
      }
      if (here.size() < wanted.count || (best != kNone && here.size() >= chosen_.size())) continue;
      best = group;
      chosen_.swap(here);
    }
    if (best != kNone) kind.shape.choose(chosen_, wanted.count);
    return best;
  }

  State& state_;
  TimePoint now_;
  Effects& effects_;
  std::vector<Candidate>& candidates_;
  std::vector<State::Ahead>& ahead_;
  policy::Shape::Positions& chosen_;
};

void step(State& state, const Event& event, TimePoint now, Effects& effects) {
  Step run(state, now, effects);
  std::visit(run, event);
  run.decide();
}

Effects step(State& state, const Event& event, TimePoint now) {
  Effects effects;
  step(state, event, now, effects);
  return effects;
}

}  // namespace ionian::allocator
