// lease_book.hpp: the shell around the allocator: kernel locks in, decisions out, kernel locks
// taken.
//
// Every look and every decision happens under one brief lock, the book. Whoever decides rebuilds
// the allocator's state from the locks and the queue's tickets, so all processes come to the same
// decision and no state is ever stale. A granted request's GPUs are then checked for strangers
// outside the book, with the GPUs' locks held.
#pragma once

#include <limits>
#include <map>
#include <string>
#include <vector>

#include "base/syscall.hpp"
#include "ionian/lease.hpp"
#include "lease/allocator.hpp"
#include "lease/lease_record.hpp"
#include "lease/lock_directory.hpp"
#include "lease/quarantine.hpp"
#include "lease/queue_order.hpp"
#include "lease/wait_graph.hpp"

namespace ionian {

struct Lease::Locks {
  std::vector<LockFile> files;
};

/// A live ticket: a file of the queue whose lock somebody holds.
struct Ticket {
  LeaseRecord record;
  /// Returns it with "H100:2" for one wish, "[H100:2, any]" for several.
  [[nodiscard]] LeaseTicket public_view() const;
};

class LeaseBook::Impl {
 public:
  Impl(Inventory inventory, LeaseBookOptions options);

  struct Granted {
    std::size_t alternative = 0;
    std::vector<std::size_t> gpus;
    std::vector<LockFile> locks;
    std::vector<LockFile> shared;  // of slices: the locks of their GPUs
  };

  /// Returns the ticket of a request; without a number yet.
  [[nodiscard]] LeaseRecord record_of(const GpuRequest& request, LeaseOwner owner,
                                      const std::vector<std::string>& held_by_ancestors) const;
  /// Enters the queue: writes `record` with the next number into a free ticket.
  LockFile enter(LeaseRecord& record);
  /// Takes the locks of what the request in the queue is granted now; nullopt if nothing is. Throws
  /// LeaseDeadlockError if it is the one that has to give way.
  std::optional<Granted> decide(const LeaseRecord& asked);
  /// Returns whether a process other than `owner` uses one of the GPUs, or one is ill; those count
  /// as busy for a while, or are quarantined.
  bool strangers_on(const Granted& granted, const LeaseOwner& owner);
  void write_owner(const Granted& granted, const LeaseOwner& owner);

  std::vector<LeaseStatus> status();
  std::vector<LeaseStatus> leases();
  std::vector<Ticket> tickets();
  /// `asked` without a number is asked about as if it were to enter now.
  LeaseExplanation explain(const GpuRequest& request, LeaseRecord asked);
  /// Returns how many stood before a request of this book when it looked last.
  [[nodiscard]] std::size_t position(std::uint64_t number) const;
  void forget(std::uint64_t number) { positions_.erase(number); }
  std::vector<LeaseDemand> wanted(const std::vector<std::string>& held,
                                  const std::vector<std::string>& leaving);

  // lease_health.cpp: GPUs that are not well
  void quarantine(Quarantine found, std::uint64_t memory_bytes);
  [[nodiscard]] std::optional<QuarantineRecord> read_quarantine(std::size_t device) const;
  [[nodiscard]] bool is_quarantined(std::size_t device) const {
    return read_quarantine(device).has_value();
  }
  /// Probes those that the request wishes for and whose pause is over, or with `now` all. Returns
  /// whether one is well again.
  bool probe_due(const LeaseRecord& record, bool now = false);
  /// Returns when the next quarantined GPU that the request wishes for is due; the far future if
  /// there is none.
  [[nodiscard]] sys::TimePoint next_probe_time(const LeaseRecord& record) const;
  /// Returns the inventory with `trouble` as it is now: that of the quarantined.
  [[nodiscard]] Inventory inventory_now() const;
  void draining(const Lease& lease, const std::string& uuid, const std::string& left);

  /// Returns -1 also while this book's requests are all far back in the queue: a thousand that wake
  /// at every change would keep those in front from the processor.
  int changes();
  void drain_changes();
  /// Returns how many changes were seen; a waiter that has seen fewer looks again soon.
  [[nodiscard]] std::uint64_t change_count() const noexcept { return change_count_; }
  /// Returns when the next GPU that strangers used is worth another look; the far future if there
  /// is none.
  [[nodiscard]] sys::TimePoint next_look() const;

  const Inventory inventory;
  const LeaseBookOptions options;

 private:
  /// A GPU that nobody holds and that could not be granted when it was looked at.
  struct Unusable {
    sys::TimePoint until{};  // it counts as busy up to here
    std::chrono::milliseconds pause{0};
  };

  /// Quarantines the devices that the inventory found in trouble.
  void quarantine_troubled();
  bool probe(std::size_t device, const QuarantineRecord& record);
  void write_health(std::string_view uuid, const std::string& text);
  void add_quarantine(std::size_t device, LeaseStatus& status) const;

  LockFile open_book();
  /// Takes the locks of what was granted; nullopt if somebody has one that does not ask the book.
  std::optional<Granted> take(const allocator::Grant& grant);
  /// Returns the queue as it is written down, or, if that is lost, as the tickets have it.
  std::vector<QueuePlace> read_order();
  /// Returns the queue as the tickets have it, and writes it down.
  std::vector<QueuePlace> find_order();
  void write_order(const std::vector<QueuePlace>& order);
  /// Returns the queue, with `asked` in it.
  std::vector<QueuePlace> order_with(const LeaseRecord& asked);
  /// Returns nullopt if the request has left the queue.
  [[nodiscard]] std::optional<Ticket> read_ticket(const QueuePlace& place) const;
  /// Returns the first `most` live tickets, and the nested ones of the rest.
  [[nodiscard]] std::vector<Ticket> read_tickets(
      const std::vector<QueuePlace>& order,
      std::size_t most = std::numeric_limits<std::size_t>::max()) const;
  [[nodiscard]] allocator::Waiting asking(const wait_graph::Request& request) const;
  static std::optional<allocator::Grant> granted(const std::vector<allocator::Effect>& effects,
                                                 std::uint64_t number);
  /// Returns what `request` would be granted if it were the next to come.
  static std::optional<allocator::Grant> granted_next(allocator::State state,
                                                      const allocator::Waiting& request);
  /// Returns what `mine` is granted behind those who came before. Opens their tickets one by one,
  /// and no more once nothing is left for it: who gets nothing behind some gets nothing behind
  /// more. For a queue without nested requests, which pass others.
  std::optional<allocator::Grant> serve(allocator::State state, const allocator::Waiting& mine,
                                        std::vector<QueuePlace> order,
                                        const std::vector<bool>& without);
  /// Rebuilds the allocator's state from the locks; GPUs of `as_free` count as free.
  allocator::State read_state(const std::vector<bool>& quarantined,
                              const std::vector<std::string>& as_free = {}) const;
  [[nodiscard]] std::vector<bool> quarantined() const;  // by device
  /// `without`: devices, by index, that are of no use to anybody.
  [[nodiscard]] wait_graph::Request waiting(const LeaseRecord& record,
                                            const std::vector<bool>& without) const;
  /// Returns the queue in the order in which it is served.
  [[nodiscard]] std::vector<wait_graph::Request> queue_of(const std::vector<Ticket>& tickets,
                                                          const std::vector<bool>& without) const;
  [[noreturn]] void throw_deadlock(const LeaseRecord& asked,
                                   const std::vector<std::uint64_t>& circle,
                                   const std::vector<Ticket>& tickets) const;
  /// Returns how many devices of this inventory a wish is about, which may be for whole GPUs where
  /// we see slices, or the other way round.
  [[nodiscard]] std::size_t count_here(const Alternative& bound,
                                       const LeaseRecord::Wish& wish) const;
  /// Lets every ticket ask, oldest first, and returns what they are granted.
  std::vector<allocator::Effect> add_queue(allocator::State& state,
                                           const std::vector<Ticket>& tickets) const;
  /// Returns the lock of a device: the GPU's, or the slice's own. Who holds a slice holds its GPU's
  /// lock too, but shared, so slices exclude whole GPUs and whole GPUs slices.
  [[nodiscard]] std::string lock_name(std::size_t device) const;
  [[nodiscard]] std::string gpu_lock_name(std::size_t device) const;
  [[nodiscard]] bool is_leased(std::size_t device) const;
  /// Returns what the lock of a device that is leased says.
  [[nodiscard]] LeaseRecord record_of(std::size_t device) const;
  /// Returns the processes on a device that are not ionian's doing; nullopt if the driver does not
  /// say.
  [[nodiscard]] std::optional<std::vector<DeviceProcess>> strangers(
      std::size_t device, const DeviceHealth& health) const;

  LockDirectory directory_;
  Machine machine_;
  std::shared_ptr<const allocator::Layout> layout_;  // of the same, as the allocator sees it
  std::map<std::size_t, Unusable> unusable_;
  sys::TimePoint decided_{};  // when the locks were last read for a decision
  std::uint64_t change_count_ = 0;
  std::map<std::uint64_t, std::size_t> positions_;  // of this book's requests, by number
};

struct LeaseWaiter::State {
  std::shared_ptr<LeaseBook::Impl> book;
  GpuRequest request;
  LeaseRecord record;
  LockFile ticket;
  std::chrono::milliseconds pause{1};
  std::uint64_t changes_seen = 0;
  bool watching = false;

  ~State() { book->forget(record.number); }
};

}  // namespace ionian
