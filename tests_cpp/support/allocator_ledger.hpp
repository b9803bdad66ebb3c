// allocator_ledger.hpp: keeps books of a simulated machine beside the allocator, from events and
// effects alone, the slow and plain way, and says which invariant is broken. Up to 31 GPUs, of one
// host or of several that are alike.
//
//   I1  no double lease: what is granted was free, and holders are who we think they are
//   I2  no lost GPU: each is in the one state in which it must be
//   I3  a gang is whole: all of its GPUs, of one model on one host, of those that were asked for
//   I4  nobody waits for GPUs that are free and that no older request claims
//   I5  nobody passes on GPUs that an older request could use
//   I6  the first alternative that fits is granted, and of it the first model
//   I8  after a death everything is given back, and drains in bounded time
//   I9  a state rebuilt from the locks is the state before, less what they cannot tell
// I7 (at most 1 + retries) is the executor's and I10 (no cycle) is decided before a request is
// made: neither is an allocator's business.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "lease/allocator.hpp"
#include "lease/policy.hpp"

namespace ionian::simulation {

using Mask = std::uint32_t;
using allocator::GpuState;
using allocator::TimePoint;

inline Mask bit(std::size_t gpu) { return Mask{1} << gpu; }
inline std::uint32_t count_of(Mask mask) { return static_cast<std::uint32_t>(std::popcount(mask)); }

/// What a request asks, as sets.
struct Ask {
  struct Option {
    std::uint32_t count;
    /// Its GPUs by model, in the order in which these are tried, and of a model by host; only where
    /// a host has enough.
    std::vector<std::vector<Mask>> models;
  };
  std::vector<Alternative> alternatives;
  std::vector<Option> options;
  Mask claim = 0;  // kept from younger requests; 0: can never be granted
  std::shared_ptr<const allocator::Demand> demand;

  Ask(const Machine& machine, const allocator::Layout& layout, std::vector<Alternative> asked)
      : alternatives(std::move(asked)), demand(allocator::demand(layout, alternatives)) {
    for (const Alternative& each : alternatives) {
      std::set<std::tuple<bool, int, std::string>> order;
      for (const std::size_t gpu : each.gpus) {
        const std::size_t i = gpu % machine.size();
        order.emplace(machine.types[i] != each.type, machine.preferences[i], machine.types[i]);
      }
      Option option{static_cast<std::uint32_t>(each.count), {}};
      for (const auto& model : order) {
        std::vector<Mask> hosts(layout.size() / machine.size());
        for (const std::size_t gpu : each.gpus) {
          if (machine.types[gpu % machine.size()] == std::get<2>(model))
            hosts[gpu / machine.size()] |= bit(gpu);
        }
        std::erase_if(hosts, [&](Mask host) { return count_of(host) < each.count; });
        for (const Mask host : hosts) claim |= host;
        if (!hosts.empty()) option.models.push_back(std::move(hosts));
      }
      options.push_back(std::move(option));
    }
  }
};

class Ledger {
 public:
  struct Waiter {
    std::uint64_t request;
    std::uint64_t client;
    const Ask* ask;
    std::uint64_t since;  // in events
  };
  struct Lease {
    std::uint64_t request;
    std::uint64_t client;
    Mask gpus;
  };
  using Effects = std::vector<allocator::Effect>;

  Ledger(const Machine& machine, std::size_t hosts)
      : machine_(&machine), size_(machine.size() * hosts) {
    gpus_[static_cast<std::size_t>(GpuState::kFree)] = bit(size_) - 1;
  }

  /// Books an event (`ask`: a Request's) and its effects, and compares with the state `after` it.
  /// Returns what is broken, nullptr if all is well.
  const char* book(const allocator::Event& event, const Ask* ask, TimePoint now,
                   const Effects& effects, const allocator::State& after) {
    ++events_;
    drains_ = quarantines_ = 0;
    rejected_ = false;
    last_granted_ = 0;
    std::visit([&](const auto& each) { expect(each, ask, now); }, event);
    for (const auto& effect : effects) {
      const char* broken = std::visit([&](const auto& each) { return check(each); }, effect);
      if (broken != nullptr) return broken;
    }
    if (drains_ != 0) return "I8: GPUs were given back and are not drained";
    if (quarantines_ != 0) return "I2: GPUs that are lost or do not drain are not quarantined";
    if (rejected_) return "a request that can never be granted was not rejected";
    if (const char* broken = compare(after)) return broken;
    return check_waiting();
  }

  /// The allocator lost its state. Returns what tells a new one all that locks, tickets and the
  /// driver know; what was draining shows as processes that are still there.
  struct Knowledge {
    allocator::Event event;
    const Ask* ask = nullptr;
  };
  std::vector<Knowledge> restart() const {
    std::vector<Knowledge> known;
    for (const Lease& lease : leases_) {
      known.push_back({allocator::Held{lease.request, lease.client, list(lease.gpus)}, nullptr});
    }
    for (const std::size_t gpu : list(of(GpuState::kQuarantined) | lost_)) {
      known.push_back({allocator::GpuLost{gpu}, nullptr});
    }
    for (const std::size_t gpu : list(of(GpuState::kBusyExternal) | of(GpuState::kDraining))) {
      known.push_back({allocator::StrangerCame{gpu}, nullptr});
    }
    for (const Waiter& each : waiting_) {
      known.push_back(
          {allocator::Request{{each.request, each.client, each.ask->demand}}, each.ask});
    }
    return known;
  }
  /// Books that all of it was told; compares like `book`.
  const char* book_restart(const Effects& effects, const allocator::State& after) {
    for (const auto& effect : effects) {
      if (!std::holds_alternative<allocator::Quarantine>(effect))
        return "I9: a restart changes decisions";
    }
    for (const std::size_t gpu : list(of(GpuState::kDraining))) {
      set(gpu, GpuState::kDraining, GpuState::kBusyExternal);
    }
    if (compare(after) != nullptr || after.queue() != requests())
      return "I9: the rebuilt state differs";
    return nullptr;
  }

  /// Returns whether what is seldom wrong is right: the order of the queue, the lists of leases.
  const char* audit(const allocator::State& state) const {
    if (state.queue() != requests()) return "I5: the queue is not in order of arrival";
    for (const Lease& lease : leases_) {
      Mask gpus = 0;
      for (const std::size_t gpu : state.gpus_of(lease.request)) gpus |= bit(gpu);
      if (gpus != lease.gpus) return "I1: a lease has other GPUs than were granted";
    }
    return nullptr;
  }

  [[nodiscard]] Mask of(GpuState state) const { return gpus_[static_cast<std::size_t>(state)]; }
  [[nodiscard]] const std::vector<Waiter>& waiting() const { return waiting_; }
  [[nodiscard]] const std::vector<Lease>& leases() const { return leases_; }
  [[nodiscard]] std::uint64_t grants() const { return grants_; }
  [[nodiscard]] std::uint64_t longest_wait() const { return longest_wait_; }

 private:
  static std::vector<std::size_t> list(Mask mask) {
    std::vector<std::size_t> gpus;
    for (; mask != 0; mask &= mask - 1) {
      gpus.push_back(static_cast<std::size_t>(std::countr_zero(mask)));
    }
    return gpus;
  }
  std::vector<std::uint64_t> requests() const {
    std::vector<std::uint64_t> all;
    for (const Waiter& each : waiting_) all.push_back(each.request);
    return all;
  }

  [[nodiscard]] bool is(std::size_t gpu, GpuState state) const {
    return gpu < size_ && (of(state) & bit(gpu)) != 0;
  }
  void set(std::size_t gpu, GpuState from, GpuState to) {
    if (!is(gpu, from)) return;
    gpus_[static_cast<std::size_t>(from)] &= ~bit(gpu);
    gpus_[static_cast<std::size_t>(to)] |= bit(gpu);
  }
  void set_any(std::size_t gpu, GpuState to) {
    for (Mask& each : gpus_) each &= ~bit(gpu);
    gpus_[static_cast<std::size_t>(to)] |= bit(gpu);
  }
  [[nodiscard]] bool knows(std::uint64_t request) const {
    const auto same = [&](const auto& each) { return each.request == request; };
    return std::any_of(waiting_.begin(), waiting_.end(), same) ||
           std::any_of(leases_.begin(), leases_.end(), same);
  }

  // ---- events: what must follow
  // -------------------------------------------------------------------

  void expect(const allocator::Request& event, const Ask* ask, TimePoint /*now*/) {
    const auto& waiting = event.waiting;
    if (knows(waiting.request)) return;
    if (ask->claim == 0) {
      rejected_ = true;
    } else {
      waiting_.push_back({waiting.request, waiting.client, ask, events_});
    }
  }
  void expect(const allocator::Cancel& event, const Ask* /*ask*/, TimePoint /*now*/) {
    std::erase_if(waiting_, [&](const Waiter& each) { return each.request == event.request; });
  }
  void expect(const allocator::ClientDied& event, const Ask* /*ask*/, TimePoint now) {
    std::erase_if(waiting_, [&](const Waiter& each) { return each.client == event.client; });
    end_leases([&](const Lease& each) { return each.client == event.client; }, now);
  }
  void expect(const allocator::Release& event, const Ask* /*ask*/, TimePoint now) {
    end_leases([&](const Lease& each) { return each.request == event.request; }, now);
  }
  template <class Which>
  void end_leases(Which which, TimePoint now) {
    Mask ended = 0;
    std::erase_if(leases_, [&](const Lease& each) {
      if (!which(each)) return false;
      ended |= each.gpus;
      return true;
    });
    quarantines_ |= ended & lost_;
    drains_ |= ended & ~lost_;
    lost_ &= ~ended;
    for (Mask left = ended; left != 0; left &= left - 1) {
      const auto gpu = static_cast<std::size_t>(std::countr_zero(left));
      set(gpu, GpuState::kLeased,
          (quarantines_ & bit(gpu)) != 0 ? GpuState::kQuarantined : GpuState::kDraining);
      until_[gpu] = now + allocator::kDrainLimit;
    }
  }
  void expect(const allocator::Held& event, const Ask* /*ask*/, TimePoint /*now*/) {
    if (knows(event.request)) return;
    Mask held = 0;
    for (const std::size_t gpu : event.gpus) {
      if (gpu >= size_ || is(gpu, GpuState::kLeased)) continue;
      if (is(gpu, GpuState::kQuarantined)) lost_ |= bit(gpu);
      set_any(gpu, GpuState::kLeased);
      held |= bit(gpu);
    }
    if (held != 0) leases_.push_back({event.request, event.client, held});
  }
  void expect(const allocator::Drained& event, const Ask* /*ask*/, TimePoint /*now*/) {
    set(event.gpu, GpuState::kDraining, GpuState::kFree);
  }
  void expect(const allocator::StrangerCame& event, const Ask* /*ask*/, TimePoint /*now*/) {
    set(event.gpu, GpuState::kFree, GpuState::kBusyExternal);
  }
  void expect(const allocator::StrangerLeft& event, const Ask* /*ask*/, TimePoint /*now*/) {
    set(event.gpu, GpuState::kBusyExternal, GpuState::kFree);
  }
  void expect(const allocator::GpuLost& event, const Ask* /*ask*/, TimePoint /*now*/) {
    if (event.gpu >= size_ || is(event.gpu, GpuState::kQuarantined)) return;
    if (is(event.gpu, GpuState::kLeased)) {
      lost_ |= bit(event.gpu);
    } else {
      set_any(event.gpu, GpuState::kQuarantined);
      quarantines_ |= bit(event.gpu);
    }
  }
  void expect(const allocator::GpuRecovered& event, const Ask* /*ask*/, TimePoint /*now*/) {
    if (event.gpu >= size_) return;
    lost_ &= ~bit(event.gpu);
    set(event.gpu, GpuState::kQuarantined, GpuState::kFree);
  }
  void expect(const allocator::Tick& /*event*/, const Ask* /*ask*/, TimePoint now) {
    for (Mask left = of(GpuState::kDraining); left != 0; left &= left - 1) {
      const auto gpu = static_cast<std::size_t>(std::countr_zero(left));
      if (until_[gpu] > now) continue;
      set(gpu, GpuState::kDraining, GpuState::kQuarantined);
      quarantines_ |= bit(gpu);
    }
  }

  // ---- effects: each must be one that follows
  // -----------------------------------------------------

  static const char* take(Mask& expected, std::size_t gpu, const char* broken) {
    if (gpu >= 32 || (expected & bit(gpu)) == 0) return broken;
    expected &= ~bit(gpu);
    return nullptr;
  }
  const char* check(const allocator::Drain& effect) {
    return take(drains_, effect.gpu, "I2: a GPU is drained that nobody gave back");
  }
  const char* check(const allocator::Quarantine& effect) {
    return take(quarantines_, effect.gpu, "I2: a GPU is quarantined without a reason");
  }
  const char* check(const allocator::Reject& /*effect*/) {
    return std::exchange(rejected_, false) ? nullptr : "a request was rejected that can be granted";
  }
  const char* check(const allocator::Grant& effect) {
    Mask open = of(GpuState::kFree);
    auto waiter = waiting_.begin();
    for (; waiter != waiting_.end() && waiter->request != effect.request; ++waiter) {
      open &= ~waiter->ask->claim;
    }
    if (waiter == waiting_.end()) return "I1: a grant for a request that does not wait";
    // Else a younger one would take its second choice for a claim that ends in the same moment.
    if (waiter->since < last_granted_)
      return "I6: a younger request was decided before an older one";
    last_granted_ = waiter->since;
    Mask gpus = 0;
    for (const std::size_t gpu : effect.gpus) gpus |= gpu < size_ ? bit(gpu) : 0;
    if ((gpus & ~of(GpuState::kFree)) != 0) return "I1: a GPU was granted that is not free";
    if ((gpus & ~open) != 0) return "I5: a request passed on GPUs that an older one could use";
    const Ask& ask = *waiter->ask;
    if (effect.alternative >= ask.options.size()) return "I6: there is no such alternative";
    if (count_of(gpus) != effect.gpus.size() ||
        effect.gpus.size() != ask.options[effect.alternative].count)
      return "I3: a gang is not whole";
    bool granted = false;
    for (std::size_t i = 0; i <= effect.alternative && !granted; ++i) {
      const auto& option = ask.options[i];
      for (const auto& model : option.models) {
        granted =
            i == effect.alternative &&
            std::any_of(model.begin(), model.end(), [&](Mask host) { return (gpus & ~host) == 0; });
        if (granted) break;
        if (fits(model, option.count, open)) return "I6: an earlier alternative or model fits";
      }
    }
    if (!granted) return "I3: GPUs of two models or hosts, or such as were not asked for";
    if (++grants_ % 64 == 0 && !is_best(ask.alternatives[effect.alternative], open, effect.gpus))
      return "another set of GPUs is better linked";
    longest_wait_ = std::max(longest_wait_, events_ - waiter->since);
    for (const std::size_t gpu : effect.gpus) set(gpu, GpuState::kFree, GpuState::kLeased);
    leases_.push_back({waiter->request, waiter->client, gpus});
    waiting_.erase(waiter);
    return nullptr;
  }
  static bool fits(const std::vector<Mask>& hosts, std::uint32_t count, Mask open) {
    return std::any_of(hosts.begin(), hosts.end(),
                       [&](Mask host) { return count_of(open & host) >= count; });
  }
  /// Looks at the one host.
  bool is_best(const Alternative& asked, Mask open, std::vector<std::size_t> gpus) const {
    const std::size_t first = gpus.front() / machine_->size() * machine_->size();
    std::vector<bool> free(machine_->size());
    for (std::size_t gpu = 0; gpu < free.size(); ++gpu) free[gpu] = (open & bit(first + gpu)) != 0;
    Alternative here{asked.type, asked.count, {}};
    for (const std::size_t gpu : asked.gpus) {
      if (gpu >= first && gpu < first + machine_->size()) here.gpus.push_back(gpu - first);
    }
    for (std::size_t& gpu : gpus) gpu -= first;
    return policy::choose(*machine_, here, free) == gpus;
  }

  // ---- the state
  // ----------------------------------------------------------------------------------

  const char* compare(const allocator::State& state) const {
    for (std::size_t gpu = 0; gpu < size_; ++gpu) {
      if (!is(gpu, state.gpu(gpu))) return "I2: a GPU is not in the state in which it must be";
    }
    for (const Lease& lease : leases_) {
      for (Mask left = lease.gpus; left != 0; left &= left - 1) {
        const auto gpu = static_cast<std::size_t>(std::countr_zero(left));
        if (state.holder(gpu) != lease.request) return "I1: a GPU has another holder";
        if (state.lost(gpu) != ((lost_ & bit(gpu)) != 0)) return "I2: a lost GPU is forgotten";
      }
    }
    if (state.leases() != leases_.size()) return "I1: a lease is lost, or one too many";
    if (state.waiting() != waiting_.size()) return "I5: a request is lost, or one too many";
    return nullptr;
  }

  const char* check_waiting() const {
    Mask open = of(GpuState::kFree);
    for (const Waiter& each : waiting_) {
      if (open == 0) break;
      for (const auto& option : each.ask->options) {
        for (const auto& model : option.models) {
          if (fits(model, option.count, open)) return "I4: a request waits for free GPUs";
        }
      }
      open &= ~each.ask->claim;
    }
    return nullptr;
  }

  const Machine* machine_;
  std::size_t size_;            // in GPUs
  std::array<Mask, 5> gpus_{};  // by state
  Mask lost_ = 0;               // leased and lost
  std::array<TimePoint, 32> until_{};
  std::vector<Waiter> waiting_;  // oldest first
  std::vector<Lease> leases_;
  std::uint64_t events_ = 0;
  std::uint64_t grants_ = 0;
  std::uint64_t longest_wait_ = 0;
  // What the event's effects must still bring.
  Mask drains_ = 0;
  Mask quarantines_ = 0;
  bool rejected_ = false;
  std::uint64_t last_granted_ = 0;  // when the last one that was granted had come
};

}  // namespace ionian::simulation
