#include "lease/lease_book.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <limits>

#include "gpu/split.hpp"
#include "ionian/error.hpp"
#include "ionian/log.hpp"
#include "lease/satisfiable.hpp"

namespace ionian {
namespace {

using std::chrono::milliseconds;

constexpr const char* kSharedDirectory = "/dev/shm/ionian-locks-v1";
constexpr const char* kAdministratorsDirectory = "/run/lock/ionian";
constexpr const char* kBook = "book";
/// The book is held for microseconds; who waits longer waits for a stopped process.
constexpr milliseconds kBookLimit{2000};
constexpr milliseconds kDriverTimeout{2000};
constexpr milliseconds kFirstLook{5};
constexpr milliseconds kLastLook{1000};

std::string ticket_name(std::size_t slot) {
  std::array<char, 32> name{};
  std::snprintf(name.data(), name.size(), "ticket-%05zu", slot);
  return name.data();
}

std::string lock_of(std::string_view uuid) {
  std::string name = "gpu-";
  for (const char c : uuid) {
    const bool plain =
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
    name += plain ? c : '_';
  }
  return name;
}

/// Returns whether a wish for `wished` can be served with `device`: the same, or one a slice of the
/// other.
bool serves(const std::string& device, const std::string& wished) {
  if (device == wished) return true;
  return is_slice(device) != is_slice(wished) && gpu_of(device) == gpu_of(wished);
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
      layout_(std::make_shared<const allocator::Layout>(Machine(inventory))) {
  quarantine_troubled();
}

UniqueFd LeaseBook::Impl::open_book() {
  UniqueFd book = directory_.lock_briefly(kBook, kBookLimit);
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

std::vector<Ticket> LeaseBook::Impl::read_tickets() const {
  std::vector<Ticket> tickets;
  // Slots are taken from the lowest, so the first file that does not exist ends them.
  for (std::size_t slot = 0;; ++slot) {
    const std::string name = ticket_name(slot);
    const auto text = directory_.read(name);
    if (!text) break;
    if (!directory_.is_held(name)) continue;
    if (auto record = LeaseRecord::parse(*text)) tickets.push_back({name, std::move(*record)});
  }
  std::sort(tickets.begin(), tickets.end(),
            [](const Ticket& a, const Ticket& b) { return a.record.number < b.record.number; });
  return tickets;
}

UniqueFd LeaseBook::Impl::enter(LeaseRecord& record) {
  const UniqueFd book = open_book();
  const auto tickets = read_tickets();
  record.number = tickets.empty() ? 1 : tickets.back().record.number + 1;
  for (std::size_t slot = 0;; ++slot) {
    const std::string name = ticket_name(slot);
    if (directory_.is_held(name)) continue;
    UniqueFd ticket = directory_.try_lock(name);
    if (!ticket) continue;
    LockDirectory::write(ticket, record.to_string());
    return ticket;
  }
}

allocator::State LeaseBook::Impl::read_state(const std::vector<std::string>& as_free) const {
  allocator::State state(layout_);
  const auto now = sys::Clock::now();
  for (std::size_t i = 0; i < inventory.devices.size(); ++i) {
    const auto stranger = strangers_.find(i);
    if (is_quarantined(i)) {
      allocator::step(state, allocator::GpuLost{i}, now);
    } else if (!contains(as_free, inventory.devices[i].uuid) && is_leased(i)) {
      // Whose it is does not matter to a decision: each held GPU is a lease of its own.
      const std::uint64_t id = std::numeric_limits<std::uint64_t>::max() - i;
      allocator::step(state, allocator::Held{id, id, {i}}, now);
    } else if (stranger != strangers_.end() && stranger->second.until > now) {
      allocator::step(state, allocator::StrangerCame{i}, now);
    }
  }
  return state;
}

std::size_t LeaseBook::Impl::count_here(const Alternative& bound,
                                        const LeaseRecord::Wish& wish) const {
  if (bound.gpus.empty() || wish.uuids.empty()) return bound.count;
  const bool slices = is_slice(inventory.devices[bound.gpus.front()].uuid);
  if (slices == is_slice(wish.uuids.front())) return bound.count;
  if (!slices) return std::min(bound.count, bound.gpus.size());
  const auto each = std::count_if(bound.gpus.begin(), bound.gpus.end(), [&](std::size_t device) {
    return gpu_of(inventory.devices[device].uuid) ==
           gpu_of(inventory.devices[bound.gpus.front()].uuid);
  });
  return std::min(bound.count * static_cast<std::size_t>(each), bound.gpus.size());
}

allocator::Waiting LeaseBook::Impl::waiting(const Ticket& ticket) const {
  std::vector<Alternative> alternatives;
  for (const auto& wish : ticket.record.wishes) {
    try {
      const auto request = GpuRequest::parse(wish.item);
      const auto& item = request.alternatives().front();
      Alternative bound{item.type, static_cast<std::size_t>(item.count), {}};
      for (std::size_t i = 0; i < inventory.devices.size(); ++i) {
        const std::string& uuid = inventory.devices[i].uuid;
        const bool wished =
            std::any_of(wish.uuids.begin(), wish.uuids.end(),
                        [&](const std::string& each) { return serves(uuid, each); });
        // A request that needs a quarantined GPU claims nothing: the others must not stand idle.
        if (wished && !is_quarantined(i)) bound.gpus.push_back(i);
      }
      bound.count = count_here(bound, wish);
      alternatives.push_back(std::move(bound));
    } catch (const GpuRequestError&) {
      // Another version's, or nonsense: it claims nothing here.
    }
  }
  const std::uint64_t number = ticket.record.number;
  return {number, number, allocator::demand(*layout_, alternatives)};
}

std::vector<allocator::Effect> LeaseBook::Impl::add_queue(
    allocator::State& state, const std::vector<Ticket>& tickets) const {
  std::vector<allocator::Effect> effects;
  for (const auto& ticket : tickets) {
    allocator::step(state, allocator::Request{waiting(ticket)}, sys::Clock::now(), effects);
  }
  return effects;
}

std::optional<LeaseBook::Impl::Granted> LeaseBook::Impl::decide(std::uint64_t number) {
  const UniqueFd book = open_book();
  auto state = read_state();
  for (const auto& effect : add_queue(state, read_tickets())) {
    const auto* grant = std::get_if<allocator::Grant>(&effect);
    if (grant == nullptr || grant->request != number) continue;
    Granted granted{grant->alternative, grant->gpus, {}, {}};
    for (const std::size_t gpu : grant->gpus) {
      if (is_slice(inventory.devices[gpu].uuid)) {
        granted.shared.push_back(directory_.try_lock(gpu_lock_name(gpu), Hold::kShared));
        if (!granted.shared.back()) return std::nullopt;
      }
      UniqueFd lock = directory_.try_lock(lock_name(gpu));
      if (!lock) return std::nullopt;  // taken by something that does not ask the book
      granted.locks.push_back(std::move(lock));
    }
    return granted;
  }
  return std::nullopt;
}

bool LeaseBook::Impl::strangers_on(const Granted& granted, const LeaseOwner& owner) {
  if (!options.check_strangers) return false;
  bool any = false;
  for (const std::size_t gpu : granted.gpus) {
    const Device& device = inventory.devices[gpu];
    if (device.simulated) continue;
    const DeviceHealth health = health_of(device, kDriverTimeout);
    if (health.answered && !health.trouble.empty()) {
      quarantine({std::string(gpu_of(device.uuid)), health.trouble, "", 0, owner}, 0);
      any = true;
      continue;
    }
    auto processes = strangers(gpu, health);
    if (!processes) continue;  // the driver does not say: the lock is what counts
    std::erase_if(*processes,
                  [&](const DeviceProcess& process) { return process.pid == owner.pid; });
    if (processes->empty()) {
      strangers_.erase(gpu);
      continue;
    }
    any = true;
    Stranger& stranger = strangers_[gpu];
    stranger.processes = std::move(*processes);
    // The last holder's memory is gone in milliseconds, a stranger stays: look less and less often.
    stranger.pause = std::clamp(stranger.pause * 2, kFirstLook, kLastLook);
    stranger.until = sys::Clock::now() + stranger.pause;
  }
  return any;
}

sys::TimePoint LeaseBook::Impl::next_look() const {
  auto next = sys::TimePoint::max();
  for (const auto& [gpu, stranger] : strangers_) next = std::min(next, stranger.until);
  return next;
}

void LeaseBook::Impl::write_owner(const Granted& granted, const LeaseOwner& owner) {
  LeaseRecord record;
  record.owner = owner;
  for (const auto& lock : granted.locks) LockDirectory::write(lock, record.to_string());
}

std::vector<LeaseStatus> LeaseBook::Impl::status() {
  std::vector<LeaseStatus> all;
  {
    const UniqueFd book = open_book();
    for (std::size_t i = 0; i < inventory.devices.size(); ++i) {
      LeaseStatus status;
      status.uuid = inventory.devices[i].uuid;
      if (is_leased(i)) {
        status.state = LeaseStatus::State::kLeased;
        LeaseRecord record = record_of(i);
        status.owner = std::move(record.owner);
        if (record.draining_ns != 0) {
          status.state = LeaseStatus::State::kDraining;
          status.left = std::move(record.left);
          status.draining_since_ns = record.draining_ns;
        }
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

std::vector<Ticket> LeaseBook::Impl::tickets() {
  const UniqueFd book = open_book();
  return read_tickets();
}

std::vector<LeaseDemand> LeaseBook::Impl::wanted(const std::vector<std::string>& held,
                                                 const std::vector<std::string>& leaving) {
  const UniqueFd book = open_book();
  const auto tickets = read_tickets();
  if (tickets.empty()) return {};
  const auto granted_with = [&](const std::vector<std::string>& as_free) {
    auto state = read_state(as_free);
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
