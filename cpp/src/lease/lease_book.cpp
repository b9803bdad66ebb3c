#include "lease/lease_book.hpp"

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "base/fault.hpp"
#include "gpu/split.hpp"
#include "ionian/error.hpp"
#include "ionian/log.hpp"
#include "lease/policy.hpp"

namespace ionian {
namespace {

using std::chrono::milliseconds;

constexpr const char* kSharedDirectory = "/dev/shm/ionian-locks-v1";
constexpr const char* kAdministratorsDirectory = "/run/lock/ionian";
constexpr const char* kBook = "book";
/// The book is held for microseconds; who waits longer waits for a stopped process.
constexpr milliseconds kBookLimit{2000};
constexpr milliseconds kDriverTimeout{2000};
/// Of a longer queue, those behind need not be asked whether they want what is idle here.
constexpr std::size_t kMostWanting = 256;
constexpr milliseconds kFirstLook{5};
constexpr milliseconds kLastLook{1000};

std::string lock_of(std::string_view uuid) {
  std::string name = "gpu-";
  for (const char c : uuid) {
    const bool plain =
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
    name += plain ? c : '_';
  }
  return name;
}

void say_draining(const LeaseRecord& record, LeaseStatus& status) {
  if (record.draining_ns == 0) return;
  status.state = LeaseStatus::State::kDraining;
  status.left = record.left;
  status.draining_since_ns = record.draining_ns;
}

bool contains(const std::vector<std::string>& texts, const std::string& text) {
  return std::find(texts.begin(), texts.end(), text) != texts.end();
}

}  // namespace

std::string LeaseBook::default_lock_dir() {
  const char* own = std::getenv("IONIAN_LOCK_DIR");
  if (own != nullptr && *own != '\0') return own;
  struct stat info {};
  if (::stat(kAdministratorsDirectory, &info) == 0 && S_ISDIR(info.st_mode))
    return kAdministratorsDirectory;
  return kSharedDirectory;
}

LeaseBook::Impl::Impl(Inventory inventory_, LeaseBookOptions options_)
    : inventory(std::move(inventory_)),
      options(std::move(options_)),
      directory_(
          options.lock_dir.empty() ? default_lock_dir() : options.lock_dir,
          (options.lock_dir.empty() ? default_lock_dir() : options.lock_dir) == kSharedDirectory),
      machine_(inventory),
      layout_(std::make_shared<const allocator::Layout>(machine_)) {
  quarantine_troubled();
}

LockFile LeaseBook::Impl::open_book() {
  LockFile book = directory_.lock_briefly(kBook, kBookLimit);
  if (!book) {
    throw ExecutionError(
        "[lease book] " + directory_.path() + "/" + kBook +
        " has been locked for 2 s by a process that does not go on (stopped, or in a debugger)\n"
        "next: find it with `lsof " +
        directory_.path() + "/" + kBook + "` and continue or end it");
  }
  return book;
}

std::string LeaseBook::Impl::lock_name(std::size_t device) const {
  return lock_of(inventory.devices[device].uuid);
}

std::string LeaseBook::Impl::gpu_lock_name(std::size_t device) const {
  return lock_of(gpu_of(inventory.devices[device].uuid));
}

bool LeaseBook::Impl::is_leased(std::size_t device) const {
  if (directory_.is_held(lock_name(device))) return true;
  return is_slice(inventory.devices[device].uuid) &&
         directory_.held(gpu_lock_name(device)) == Hold::kExclusive;
}

LeaseRecord LeaseBook::Impl::record_of(std::size_t device) const {
  std::string name = lock_name(device);
  if (is_slice(inventory.devices[device].uuid)) {
    if (!directory_.is_held(name)) name = gpu_lock_name(device);
  } else if (directory_.held(name) == Hold::kShared) {
    // Held by the slice: the first that there is stands for all.
    for (int part = 0; part < kMostSlices; ++part) {
      const std::string slice =
          lock_of(inventory.devices[device].uuid + "/" + std::to_string(part));
      if (!directory_.is_held(slice)) continue;
      name = slice;
      break;
    }
  }
  return LeaseRecord::parse(directory_.read(name).value_or("")).value_or(LeaseRecord{});
}

std::optional<std::vector<DeviceProcess>> LeaseBook::Impl::strangers(
    std::size_t device, const DeviceHealth& health) const {
  auto processes = health.processes;
  // The other slices of a GPU are in use while one is free: only their holders' locks tell more.
  if (processes && is_slice(inventory.devices[device].uuid)) {
    std::erase_if(*processes, [](const DeviceProcess& process) { return !process.run.empty(); });
  }
  return processes;
}

allocator::State LeaseBook::Impl::read_state(const std::vector<bool>& quarantined,
                                             const std::vector<std::string>& as_free) const {
  allocator::State state(layout_);
  const auto now = sys::Clock::now();
  for (std::size_t i = 0; i < inventory.devices.size(); ++i) {
    const auto unusable = unusable_.find(i);
    if (quarantined[i]) {
      allocator::step(state, allocator::GpuLost{i}, now);
    } else if (!contains(as_free, inventory.devices[i].uuid) && is_leased(i)) {
      // Whose it is does not matter to a decision: each held GPU is a lease of its own.
      const std::uint64_t id = std::numeric_limits<std::uint64_t>::max() - i;
      allocator::step(state, allocator::Held{id, id, {i}}, now);
    } else if (unusable != unusable_.end() && unusable->second.until > now) {
      allocator::step(state, allocator::StrangerCame{i}, now);
    }
  }
  return state;
}

std::optional<LeaseBook::Impl::Granted> LeaseBook::Impl::decide(const LeaseRecord& asked) {
  FAULT("lease.decide");
  const LockFile book = open_book();
  auto order = order_with(asked);
  const auto without = quarantined();
  decided_ = sys::Clock::now();
  auto state = read_state(without);
  const auto mine = asking(waiting(asked, without));
  // Most looks end here.
  if (asked.held.empty() && !granted_next(state, mine)) return std::nullopt;
  const bool nested =
      std::any_of(order.begin(), order.end(), [](const QueuePlace& place) { return place.nested; });
  if (!nested) {
    const auto grant = serve(std::move(state), mine, std::move(order), without);
    return grant ? take(*grant) : std::nullopt;
  }
  const auto tickets = read_tickets(order);
  if (const auto grant = granted(add_queue(state, tickets), asked.number)) return take(*grant);
  if (asked.held.empty()) return std::nullopt;
  // A quarantined GPU may be well again: whom it can serve then does not wait for ever.
  const auto queue = queue_of(tickets, std::vector<bool>(inventory.devices.size()));
  const auto circle = wait_graph::deadlock(machine_, queue, asked.number);
  if (!circle.empty()) throw_deadlock(asked, circle, tickets);
  return std::nullopt;
}

std::optional<LeaseBook::Impl::Granted> LeaseBook::Impl::take(const allocator::Grant& grant) {
  Granted granted{grant.alternative, grant.gpus, {}, {}};
  for (const std::size_t gpu : grant.gpus) {
    if (is_slice(inventory.devices[gpu].uuid)) {
      granted.shared.push_back(directory_.try_lock(gpu_lock_name(gpu), Hold::kShared));
      if (!granted.shared.back()) return std::nullopt;
    }
    LockFile lock = directory_.try_lock(lock_name(gpu));
    if (!lock) return std::nullopt;  // taken by something that does not ask the book
    granted.locks.push_back(std::move(lock));
    FAULT("lease.locked");
  }
  return granted;
}

bool LeaseBook::Impl::strangers_on(const Granted& granted, const LeaseOwner& owner) {
  if (!options.check_strangers) return false;
  bool any = false;
  for (const std::size_t gpu : granted.gpus) {
    const Device& device = inventory.devices[gpu];
    if (device.simulated) continue;
    const DeviceHealth health = health_of(device, kDriverTimeout);
    const bool ill = health.answered && !health.trouble.empty();
    if (ill) {
      quarantine({std::string(gpu_of(device.uuid)), health.trouble, "", 0, owner}, 0);
    } else {
      auto processes = strangers(gpu, health);
      if (!processes) continue;  // the driver does not say: the lock is what counts
      std::erase_if(*processes,
                    [&](const DeviceProcess& process) { return process.pid == owner.pid; });
      if (processes->empty()) {
        unusable_.erase(gpu);
        continue;
      }
    }
    any = true;
    // The last holder's memory is gone in milliseconds, a stranger stays: look less and less often.
    // An ill GPU too, for its quarantine is not written where the disk is full.
    Unusable& found = unusable_[gpu];
    found.pause = std::clamp(found.pause * 2, kFirstLook, kLastLook);
    found.until = sys::Clock::now() + found.pause;
  }
  return any;
}

sys::TimePoint LeaseBook::Impl::next_look() const {
  auto next = sys::TimePoint::max();
  for (const auto& [gpu, found] : unusable_) {
    // The others were no longer in the way when it was decided last.
    if (found.until > decided_) next = std::min(next, found.until);
  }
  return next;
}

void LeaseBook::Impl::write_owner(const Granted& granted, const LeaseOwner& owner) {
  LeaseRecord record;
  record.owner = owner;
  for (std::size_t i = 0; i < granted.locks.size(); ++i) {
    record.gpu = inventory.devices[granted.gpus[i]].type;
    LockDirectory::write(granted.locks[i], record.to_string());
  }
}

std::vector<LeaseStatus> LeaseBook::Impl::status() {
  std::vector<LeaseStatus> all;
  {
    const LockFile book = open_book();
    for (std::size_t i = 0; i < inventory.devices.size(); ++i) {
      LeaseStatus status;
      status.uuid = inventory.devices[i].uuid;
      status.type = inventory.devices[i].type;
      if (is_leased(i)) {
        status.state = LeaseStatus::State::kLeased;
        LeaseRecord record = record_of(i);
        status.owner = record.owner;
        say_draining(record, status);
      }
      add_quarantine(i, status);
      all.push_back(std::move(status));
    }
  }
  // The driver is asked outside the book: it can take its time.
  for (std::size_t i = 0; i < all.size() && options.check_strangers; ++i) {
    if (all[i].state != LeaseStatus::State::kFree || inventory.devices[i].simulated) continue;
    auto processes = strangers(i, health_of(inventory.devices[i], kDriverTimeout));
    if (!processes || processes->empty()) continue;
    all[i].state = LeaseStatus::State::kExternal;
    all[i].strangers = std::move(*processes);
  }
  return all;
}

std::vector<LeaseStatus> LeaseBook::Impl::leases() {
  std::vector<LeaseStatus> all;
  const LockFile book = open_book();
  for (const auto& name : directory_.names("gpu-")) {
    // A GPU's lock that is shared stands for its slices, whose own locks follow.
    if (directory_.held(name) != Hold::kExclusive) continue;
    LeaseStatus status;
    status.uuid = name.substr(4);
    if (const auto slice = status.uuid.rfind('_'); slice != std::string::npos)
      status.uuid[slice] = '/';
    status.state = LeaseStatus::State::kLeased;
    auto record = LeaseRecord::parse(directory_.read(name).value_or(""));
    status.owner = record ? record->owner : LeaseOwner{};
    if (record) say_draining(*record, status);
    if (record) status.type = std::move(record->gpu);
    all.push_back(std::move(status));
  }
  return all;
}

std::vector<LeaseDemand> LeaseBook::Impl::wanted(const std::vector<std::string>& held,
                                                 const std::vector<std::string>& leaving) {
  const LockFile book = open_book();
  const auto tickets = read_tickets(read_order(), kMostWanting);
  if (tickets.empty()) return {};
  const auto without_these = quarantined();
  const auto granted_with = [&](const std::vector<std::string>& as_free) {
    auto state = read_state(without_these, as_free);
    std::map<std::uint64_t, allocator::Grant> grants;
    for (const auto& effect : add_queue(state, tickets)) {
      if (const auto* grant = std::get_if<allocator::Grant>(&effect))
        grants[grant->request] = *grant;
    }
    return grants;
  };
  const auto without = granted_with(leaving);
  std::vector<std::string> all = leaving;
  all.insert(all.end(), held.begin(), held.end());
  std::vector<LeaseDemand> demands;
  for (const auto& [number, grant] : granted_with(all)) {
    if (without.contains(number)) continue;
    LeaseDemand demand;
    for (const std::size_t gpu : grant.gpus) {
      if (contains(held, inventory.devices[gpu].uuid)) ++demand.count;
    }
    const auto ticket = std::find_if(
        tickets.begin(), tickets.end(),
        [&, wanted = number](const Ticket& each) { return each.record.number == wanted; });
    for (const auto& wish : ticket->record.wishes) {
      for (const auto& uuid : wish.uuids) {
        if (contains(held, uuid) && !contains(demand.uuids, uuid)) demand.uuids.push_back(uuid);
      }
    }
    demands.push_back(std::move(demand));
  }
  return demands;
}

void LeaseBook::Impl::drain_changes() {
  if (directory_.drain()) ++change_count_;
}

}  // namespace ionian
