// allocator_state.hpp: what the allocator knows, with indices that make every question cheap: GPUs
// by how many are free beside them, waiting requests by the kinds of GPUs that they claim.
//
// All lists run through the tables by position, so a State is copied like any value and, once it
// has reached its size, a decision allocates nothing.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "lease/demand.hpp"
#include "lease/id_map.hpp"
#include "lease/layout.hpp"

namespace ionian::allocator {

using TimePoint = std::chrono::steady_clock::time_point;

enum class GpuState : std::uint8_t { kFree, kLeased, kDraining, kQuarantined, kBusyExternal };

struct Waiting {
  std::uint64_t request = 0;
  std::uint64_t client = 0;
  std::shared_ptr<const Demand> demand;
};

/// Everything there is to know; changed by `step` alone. Copy it to ask "what if".
class State {
 public:
  explicit State(std::shared_ptr<const Layout> layout);
  explicit State(const Machine& machine) : State(std::make_shared<const Layout>(machine)) {}

  [[nodiscard]] const Layout& layout() const noexcept { return *layout_; }
  [[nodiscard]] std::size_t size() const noexcept { return states_.size(); }  // in GPUs
  [[nodiscard]] GpuState gpu(std::size_t index) const { return states_[index]; }
  /// Returns the request that holds a GPU; 0 unless it is leased.
  [[nodiscard]] std::uint64_t holder(std::size_t gpu) const;
  /// Returns whether a leased GPU goes to quarantine when it is given back.
  [[nodiscard]] bool lost(std::size_t gpu) const { return gpus_[gpu].lost; }
  /// Returns when we stop waiting for a draining GPU.
  [[nodiscard]] TimePoint drains_until(std::size_t gpu) const { return gpus_[gpu].until; }

  [[nodiscard]] std::size_t waiting() const noexcept {
    return entries_by_request_.size() - leases_;
  }
  [[nodiscard]] std::size_t leases() const noexcept { return leases_; }
  /// Calls `look(request, client)` for every waiting request, oldest first.
  template <class Look>
  void each_waiting(Look look) const {
    for (std::uint32_t i = queue_.head; i != kNone; i = entries_[i].next) {
      look(entries_[i].request, entries_[i].client);
    }
  }
  /// Returns the waiting requests, oldest first.
  [[nodiscard]] std::vector<std::uint64_t> queue() const;
  /// Returns the GPUs of a lease, in the order in which they were granted; none if there is none.
  [[nodiscard]] std::vector<std::size_t> gpus_of(std::uint64_t request) const;
  /// Returns about how much memory all of this takes, without the layout.
  [[nodiscard]] std::size_t bytes() const;

 private:
  friend class Step;

  struct List {
    std::uint32_t head = kNone;
    std::uint32_t tail = kNone;
  };
  struct Gpu {
    TimePoint until{};            // kDraining
    std::uint32_t entry = kNone;  // kLeased
    std::uint32_t prev = kNone;   // kDraining: in draining_
    std::uint32_t next = kNone;   // kDraining: in draining_; kLeased: the lease's next GPU
    bool lost = false;
  };
  /// A request from its arrival to its end: it waits, then it is a lease.
  struct Entry {
    std::uint64_t request = 0;
    std::uint64_t client = 0;
    std::uint64_t arrival = 0;
    std::shared_ptr<const Demand> demand;
    std::uint32_t prev = kNone;         // in queue_
    std::uint32_t next = kNone;         // in queue_, or of the entries that are not in use
    std::uint32_t client_prev = kNone;  // among the client's entries, in a ring
    std::uint32_t client_next = kNone;
    std::uint32_t places = kNone;  // while it waits: its places in the lines of its kinds
    std::uint32_t gpus = kNone;    // once it is a lease: the first of its GPUs
  };
  /// Where a waiting request stands in the line of one kind.
  struct Place {
    std::uint32_t entry = kNone;
    std::uint32_t claim = 0;  // of its demand's claims
    std::uint32_t prev = kNone;
    std::uint32_t next = kNone;
    std::uint32_t sibling = kNone;  // the entry's next place, or the next that is not in use
  };
  /// What changes of a Group.
  struct Stock {
    std::uint32_t free = 0;
    std::uint32_t prev = kNone;
    std::uint32_t next = kNone;
  };
  /// What changes of a Kind.
  struct Pool {
    std::vector<std::uint32_t> by_free;  // groups with so many free GPUs, as lists; not for 0
    std::uint64_t free = 0;              // GPUs
    List line;                           // places of those that claim this kind, oldest first
    bool changed = false;                // in changed_
  };

  struct Candidate {
    std::uint64_t arrival;
    std::uint32_t entry;
  };
  /// A part of a kind that an older request claims.
  struct Ahead {
    const Demand* demand;
    const Share* share;
  };
  /// Room for a decision's notes; says nothing between decisions.
  struct Scratch {
    std::vector<Candidate> candidates;
    std::vector<Ahead> ahead;
    policy::Shape::Positions chosen;
  };

  [[nodiscard]] bool is_waiting(std::uint32_t entry) const {
    return entries_[entry].demand != nullptr;
  }

  std::uint32_t add_entry(std::uint64_t request, std::uint64_t client);
  /// Forgets an entry that is neither in the queue nor holds a GPU.
  void remove_entry(std::uint32_t entry);
  void enqueue(std::uint32_t entry);
  /// Takes an entry out of the queue; its claims end, so its kinds have changed.
  void dequeue(std::uint32_t entry);

  void set_gpu(std::uint32_t gpu, GpuState state);
  /// Moves a group to where it belongs after `by` of its GPUs have become free, or fewer.
  void restock(std::uint32_t group, std::int32_t by);
  void drain(std::uint32_t gpu, TimePoint until);
  void mark_changed(std::uint32_t kind);

  std::shared_ptr<const Layout> layout_;
  std::vector<GpuState> states_;  // apart from the rest, for it is read most
  std::vector<Gpu> gpus_;
  std::vector<Stock> stocks_;  // by group
  std::vector<Pool> pools_;    // by kind
  List draining_;              // GPUs, the first to end first
  std::vector<Entry> entries_;
  std::vector<Place> places_;
  std::uint32_t spare_entry_ = kNone;
  std::uint32_t spare_place_ = kNone;
  List queue_;  // entries, oldest first
  IdMap entries_by_request_;
  IdMap entries_by_client_;  // one of each client's ring
  std::uint64_t arrivals_ = 0;
  std::size_t leases_ = 0;
  std::vector<std::uint32_t> changed_;  // kinds, of which something may now be granted
  Scratch scratch_;
};

}  // namespace ionian::allocator
