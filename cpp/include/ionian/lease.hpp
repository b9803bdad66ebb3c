// lease.hpp: GPUs held for as long as an object, or the process, lives.
//
// A lease is a kernel object: one lock file per GPU UUID in a lock directory, held by flock.
// Whoever holds the lock holds the GPU; the file's content is for people. When the holder ends in
// whatever way, the kernel frees the lock. Requests that must wait stand in one machine-wide queue,
// first in, first out; a waiter that dies leaves it by itself.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ionian/gpu_request.hpp"
#include "ionian/inventory.hpp"

namespace ionian {

/// Who holds or waits; written into lock and ticket files for people to read, never decided upon.
struct LeaseOwner {
  std::int64_t pid = 0;  // the process on whose behalf it is held
  std::uint32_t uid = 0;
  std::string user;
  std::string app;
  std::string function;
  std::string run;            // id of the run, "" outside one
  std::int64_t since_ns = 0;  // CLOCK_REALTIME nanoseconds, for display only
  /// The calls that this one is nested in and their GPUs, outermost first: "app.f (A10G GPU-…)".
  std::vector<std::string> callers = {};
  bool operator==(const LeaseOwner&) const = default;
};

/// Why a GPU is not granted although nobody holds it. It is probed again and again with growing
/// pauses, and granted once a probe finds it well.
struct Quarantine {
  std::string uuid;         // of the whole GPU, or of the MIG instance
  std::string reason;       // one phrase: "Xid 79: GPU has fallen off the bus"
  std::string action;       // what a person should do, "" if nothing or if `reason` says it
  std::uint32_t xid = 0;    // 0: none
  LeaseOwner finder;        // who found it, since when
  std::string found_now{};  // what the last probe found, "" before the first
  std::chrono::milliseconds probe_in{0};  // until the next probe, if somebody asks for it then
  bool operator==(const Quarantine&) const = default;
};

/// What one GPU is doing, for `ionian gpus`, explanations and errors.
struct LeaseStatus {
  /// kDraining: its lease has ended, and its holder waits until nothing is left on it.
  enum class State { kFree, kLeased, kExternal, kDraining, kQuarantined };
  std::string uuid;
  std::string type = {};  // the model, as in `gpu=`
  State state = State::kFree;
  std::optional<LeaseOwner> owner;       // kLeased, kDraining
  std::vector<DeviceProcess> strangers;  // kExternal
  std::string left;                      // kDraining: "pid 12 (python)"
  std::int64_t draining_since_ns = 0;    // kDraining: CLOCK_REALTIME nanoseconds, for display
  std::optional<Quarantine> quarantine;  // kQuarantined, or kLeased: when it is given back
};

struct LeaseTicket {  // one waiting request, in queue order
  std::uint64_t number = 0;
  std::string request;
  LeaseOwner owner;
};

/// What a waiting request lacks: any `count` of these held GPUs.
struct LeaseDemand {
  std::size_t count = 0;
  std::vector<std::string> uuids;
  bool operator==(const LeaseDemand&) const = default;
};

/// What stands between one alternative of a request and its grant.
struct LeaseObstacles {
  struct Kept {
    std::string uuid;
    std::uint64_t request = 0;  // number of the ticket
    bool operator==(const Kept&) const = default;
  };
  std::string item;               // "H100:2"
  std::size_t count = 0;          // GPUs that it needs at once
  bool possible = true;           // false: this machine can never grant it
  std::vector<std::string> free;  // could be had now
  std::vector<std::string> busy;  // leased, used outside ionian, or out of order: `gpus` says which
  std::vector<Kept> kept;         // free, but a request that came earlier has a claim on them
  bool operator==(const LeaseObstacles&) const = default;
};

/// Why a request is not granted now, as data. `to_string` is what the CLI and the errors print.
struct LeaseExplanation {
  std::string request;
  bool queued = false;             // it stands in the queue; false: asked what would be
  std::string never;               // why this machine can never grant it, "" if it can
  std::vector<std::string> grant;  // UUIDs that it would get now; empty if it must wait
  std::size_t position = 0;        // requests ahead in the queue; 0 means next
  bool possible_now = true;        // false: it needs a GPU that is quarantined
  std::vector<LeaseObstacles> alternatives;
  std::vector<LeaseStatus> gpus;
  std::vector<LeaseTicket> queue;  // in the order in which they are served
  [[nodiscard]] std::string to_string() const;
};

/// GPUs held. Move-only; the destructor frees them at once.
class Lease {
 public:
  Lease() noexcept;
  Lease(Lease&&) noexcept;
  Lease& operator=(Lease&&) noexcept;
  ~Lease();
  [[nodiscard]] explicit operator bool() const noexcept { return !devices_.empty(); }
  /// Returns the GPUs, in the order in which a program should number them.
  [[nodiscard]] const std::vector<Device>& devices() const noexcept { return devices_; }
  /// Returns the UUIDs of the GPUs joined by commas: a CUDA_VISIBLE_DEVICES. A GPU of several
  /// slices is named once.
  [[nodiscard]] std::string visible_devices() const;
  /// Returns which alternative of the request was granted, from 0.
  [[nodiscard]] std::size_t alternative() const noexcept { return alternative_; }
  void release() noexcept;

 private:
  friend class LeaseBook;
  friend class LeaseWaiter;
  struct Locks;
  std::unique_ptr<Locks> locks_;
  std::vector<Device> devices_;
  std::size_t alternative_ = 0;
};

class LeaseBook;

/// A place in the queue. Move-only; the destructor leaves the queue. Not thread-safe.
class LeaseWaiter {
 public:
  LeaseWaiter(LeaseWaiter&&) noexcept;
  LeaseWaiter& operator=(LeaseWaiter&&) noexcept;
  ~LeaseWaiter();
  /// Returns the lease if it can be granted now, nullopt if not; never blocks on other holders.
  /// Call again whenever the book's `changes()` descriptor is readable, and at `retry_after()` at
  /// the latest. Throws LeaseDeadlockError if it would wait for ever: calls that wait for each
  /// other hold the GPUs that they need, and this request is the youngest of them.
  [[nodiscard]] std::optional<Lease> try_grant();
  /// Returns how long to wait at most before the next try (a few ms just after a change,
  /// else 1 s; 5 ms for each request before it where it is not woken).
  [[nodiscard]] std::chrono::milliseconds retry_after() const;
  /// Returns how many stood before it when it last tried; some of them may have left.
  [[nodiscard]] std::size_t position() const noexcept;
  /// Reads the whole queue, which takes some 10 µs for each request in it.
  [[nodiscard]] LeaseExplanation explain() const;

 private:
  friend class LeaseBook;
  struct State;
  explicit LeaseWaiter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

struct LeaseBookOptions {
  std::string lock_dir;  // "" means default_lock_dir()
  GpuMatch match = GpuMatch::kUpgrade;
  bool check_strangers = true;  // ask the driver for processes and health before granting
  /// From one probe of a quarantined GPU to the next; the last one for good.
  std::vector<std::chrono::milliseconds> probe_pauses = {
      std::chrono::seconds(30), std::chrono::minutes(1), std::chrono::minutes(5),
      std::chrono::minutes(30)};

  /// Returns the defaults with what IONIAN_PROBE_PAUSES says ("30,60,300,1800", seconds). Throws
  /// InvalidError if that is not such a list.
  static LeaseBookOptions from_environment();
};

/// The lock directory and the inventory together. Opens no GPU and starts no thread.
class LeaseBook {
 public:
  /// Creates the lock directory if need be. Throws PermissionDeniedError when it is a symbolic
  /// link, or another user's and not sticky, with the reason.
  LeaseBook(Inventory inventory, LeaseBookOptions options);
  ~LeaseBook();
  LeaseBook(LeaseBook&&) noexcept;
  LeaseBook& operator=(LeaseBook&&) noexcept;

  /// Returns IONIAN_LOCK_DIR, else /run/lock/ionian where an administrator made it, else
  /// /dev/shm/ionian-locks-v1.
  static std::string default_lock_dir();

  [[nodiscard]] const Inventory& inventory() const noexcept;
  /// Throws UnsatisfiableError if no alternative can ever be granted on this machine (it says what
  /// exists and the nearest that would fit), LeaseDeadlockError if it could only be granted with a
  /// GPU of `held_by_ancestors` (UUIDs). The error names the chain of calls that `asker` stands in.
  void check(const GpuRequest& request, const std::vector<std::string>& held_by_ancestors = {},
             const LeaseOwner& asker = {}) const;
  /// Enters the queue. Throws as `check` does.
  [[nodiscard]] LeaseWaiter request(const GpuRequest& request, LeaseOwner owner,
                                    const std::vector<std::string>& held_by_ancestors = {});
  /// Waits for a lease. Throws as `check` does, and LeaseTimeoutError naming the holders.
  [[nodiscard]] Lease acquire(const GpuRequest& request, LeaseOwner owner,
                              std::optional<std::chrono::milliseconds> timeout = std::nullopt);

  /// Returns what would become of a request made now, without making it: it enters no queue. If
  /// `asker` (a run and a function) waits already, it is that request which is explained.
  [[nodiscard]] LeaseExplanation explain(const GpuRequest& request,
                                         const std::vector<std::string>& held_by_ancestors = {},
                                         const LeaseOwner& asker = {}) const;

  /// Returns a descriptor that becomes readable when some lock or ticket of this machine changes,
  /// also because its holder was killed; -1 while there is nothing to watch with, or the requests
  /// made here are far back in the queue. Ask anew before each wait. Call `drain_changes` after
  /// each wake-up.
  [[nodiscard]] int changes() const noexcept;
  void drain_changes();

  /// Returns the state of every GPU of the inventory, in its order.
  [[nodiscard]] std::vector<LeaseStatus> status() const;
  /// Keeps a GPU from being granted until a probe finds it well. Processes on it, and with a
  /// baseline also memory beyond `memory_bytes`, count against it then.
  void quarantine(Quarantine found, std::uint64_t memory_bytes = 0);
  [[nodiscard]] bool is_quarantined(const std::string& uuid) const;
  /// Probes every quarantined GPU now, without waiting for its pause to end.
  void probe();
  /// Writes into the lock file of a device of `lease` that it drains: `left` says what is on it,
  /// "" that it no longer does.
  void draining(const Lease& lease, const std::string& uuid, const std::string& left);

  /// Returns every GPU that is leased on this machine, also those that the inventory does not have.
  [[nodiscard]] std::vector<LeaseStatus> leases() const;
  /// Returns the waiting requests in the order in which they are served.
  [[nodiscard]] std::vector<LeaseTicket> queue() const;
  /// Returns what waiting requests lack that could be granted with GPUs of `held` (UUIDs that this
  /// process holds and could give up), and not without. GPUs of `leaving` count as free: they are
  /// being given up already.
  [[nodiscard]] std::vector<LeaseDemand> wanted(const std::vector<std::string>& held,
                                                const std::vector<std::string>& leaving = {}) const;

 private:
  friend class LeaseWaiter;
  class Impl;
  std::shared_ptr<Impl> impl_;
};

/// Returns an owner that describes this process.
LeaseOwner this_process_as_owner(std::string app, std::string function, std::string run);

}  // namespace ionian
