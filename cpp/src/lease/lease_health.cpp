// Quarantine as other processes see it: health files written under the book, probes outside it.
#include <algorithm>
#include <cstdlib>

#include "ionian/error.hpp"
#include "lease/lease_book.hpp"
#include "lease/quarantine.hpp"

namespace ionian {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr milliseconds kDriverTimeout{2000};

std::string health_file(std::string_view uuid) {
  std::string name = "health-";
  for (const char c : gpu_of(uuid)) {
    const bool plain =
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
    name += plain ? c : '_';
  }
  return name;
}

bool wants(const LeaseRecord& record, std::string_view uuid) {
  return std::any_of(record.wishes.begin(), record.wishes.end(), [&](const auto& wish) {
    return std::any_of(wish.uuids.begin(), wish.uuids.end(),
                       [&](const std::string& each) { return gpu_of(each) == gpu_of(uuid); });
  });
}

std::vector<milliseconds> parse_probe_pauses(const std::string& text) {
  std::vector<milliseconds> pauses;
  const char* at = text.c_str();
  for (;;) {
    char* end = nullptr;
    const double seconds = std::strtod(at, &end);
    if (end == at || (*end != ',' && *end != '\0') || !(seconds > 0 && seconds < 1e6)) {
      throw InvalidError("[IONIAN_PROBE_PAUSES] got \"" + text.substr(0, 60) +
                         "\"; expected seconds joined by commas, as in \"30,60,300,1800\"");
    }
    pauses.emplace_back(static_cast<std::int64_t>(seconds * 1000));
    if (*end == '\0') return pauses;
    at = end + 1;
  }
}

std::int64_t since_start(sys::TimePoint time) {
  return std::chrono::duration_cast<nanoseconds>(time.time_since_epoch()).count();
}

}  // namespace

LeaseBookOptions LeaseBookOptions::from_environment() {
  LeaseBookOptions options;
  const char* pauses = std::getenv("IONIAN_PROBE_PAUSES");
  if (pauses != nullptr && *pauses != '\0') options.probe_pauses = parse_probe_pauses(pauses);
  return options;
}

std::optional<QuarantineRecord> LeaseBook::Impl::read_quarantine(std::size_t device) const {
  return QuarantineRecord::parse(
      directory_.read(health_file(inventory.devices[device].uuid)).value_or(""));
}

void LeaseBook::Impl::write_health(std::string_view uuid, const std::string& text) {
  // The book is held, so the lock is free unless something else than ionian plays with it.
  const LockFile file = directory_.try_lock(health_file(uuid));
  if (file) LockDirectory::write(file, text);
}

void LeaseBook::Impl::quarantine(Quarantine found, std::uint64_t memory_bytes) {
  const LockFile book = open_book();
  const auto before =
      QuarantineRecord::parse(directory_.read(health_file(found.uuid)).value_or(""));
  QuarantineRecord record;
  record.quarantine = std::move(found);
  record.boot = boot_id();
  record.probed_ns = since_start(sys::Clock::now());
  record.memory_bytes = memory_bytes;
  if (before && before->boot == record.boot) {
    // The first finding is the cause, what follows its consequences.
    if (before->quarantine.xid != 0 || record.quarantine.xid == 0) {
      record.quarantine = before->quarantine;
    }
    record.faults = before->faults;
  }
  write_health(record.quarantine.uuid, record.to_string());
}

void LeaseBook::Impl::quarantine_troubled() {
  for (std::size_t i = 0; i < inventory.devices.size(); ++i) {
    const Device& device = inventory.devices[i];
    if (!device.trouble.empty() && !read_quarantine(i)) {
      quarantine({std::string(gpu_of(device.uuid)), device.trouble, "", 0,
                  this_process_as_owner("", "", "")},
                 0);
    }
  }
}

bool LeaseBook::Impl::probe(std::size_t device, const QuarantineRecord& record) {
  const Device& gpu = inventory.devices[device];
  const DeviceHealth health = health_of(gpu, kDriverTimeout);
  QuarantineRecord after = record;
  after.boot = boot_id();
  const std::string left = what_is_left(health, record.memory_bytes);
  const std::string fault = !health.trouble.empty() ? health.trouble : health.pending;
  const bool well = health.answered && fault.empty() && left.empty();
  const LockFile book = open_book();
  if (read_quarantine(device) != record) return false;  // somebody else was faster
  // Only faults make the pauses grow: a GPU on which something is left answers well.
  after.faults = record.boot == after.boot && !fault.empty() ? record.faults + 1 : 1;
  after.probed_ns = since_start(sys::Clock::now());
  if (!fault.empty()) {
    after.quarantine.found_now = fault;
  } else {
    after.quarantine.found_now = left.empty() ? "" : "still on it: " + left;
  }
  write_health(gpu.uuid, well ? "" : after.to_string());
  return well;
}

bool LeaseBook::Impl::probe_due(const LeaseRecord& record, bool now) {
  bool any = false;
  const auto time = sys::Clock::now();
  for (std::size_t i = 0; i < inventory.devices.size(); ++i) {
    const bool asked = now || wants(record, inventory.devices[i].uuid);
    const auto found = asked ? read_quarantine(i) : std::nullopt;
    if (!found) continue;
    if (!now && next_probe(*found, options.probe_pauses, boot_id(), time) > time) continue;
    any = probe(i, *found) || any;
  }
  return any;
}

sys::TimePoint LeaseBook::Impl::next_probe_time(const LeaseRecord& record) const {
  auto next = sys::TimePoint::max();
  for (std::size_t i = 0; i < inventory.devices.size(); ++i) {
    if (!wants(record, inventory.devices[i].uuid)) continue;
    if (const auto found = read_quarantine(i)) {
      next = std::min(next, next_probe(*found, options.probe_pauses, boot_id(), sys::Clock::now()));
    }
  }
  return next;
}

Inventory LeaseBook::Impl::inventory_now() const {
  Inventory now = inventory;
  for (std::size_t i = 0; i < now.devices.size(); ++i) {
    const auto found = read_quarantine(i);
    now.devices[i].trouble = found ? found->quarantine.reason : "";
  }
  return now;
}

void LeaseBook::Impl::add_quarantine(std::size_t device, LeaseStatus& status) const {
  const auto found = read_quarantine(device);
  if (!found) return;
  status.quarantine = found->quarantine;
  const auto wait =
      next_probe(*found, options.probe_pauses, boot_id(), sys::Clock::now()) - sys::Clock::now();
  status.quarantine->probe_in = std::max(milliseconds(0), std::chrono::ceil<milliseconds>(wait));
  if (status.state == LeaseStatus::State::kFree) status.state = LeaseStatus::State::kQuarantined;
}

void LeaseBook::Impl::draining(const Lease& lease, const std::string& uuid,
                               const std::string& left) {
  for (std::size_t i = 0; i < lease.devices_.size(); ++i) {
    if (lease.devices_[i].uuid != uuid) continue;
    const Device* device = inventory.find(uuid);
    if (device == nullptr) return;
    LeaseRecord record = record_of(static_cast<std::size_t>(device - inventory.devices.data()));
    if (record.left == left) return;
    if (left.empty()) {
      record.draining_ns = 0;
    } else if (record.draining_ns == 0) {
      record.draining_ns = this_process_as_owner("", "", "").since_ns;
    }
    record.left = left;
    LockDirectory::write(lease.locks_->files[i], record.to_string());
  }
}

void LeaseBook::draining(const Lease& lease, const std::string& uuid, const std::string& left) {
  impl_->draining(lease, uuid, left);
}

void LeaseBook::quarantine(Quarantine found, std::uint64_t memory_bytes) {
  found.uuid = std::string(gpu_of(found.uuid));
  impl_->quarantine(std::move(found), memory_bytes);
}

bool LeaseBook::is_quarantined(const std::string& uuid) const {
  const Device* device = impl_->inventory.find(uuid);
  return device != nullptr &&
         impl_->read_quarantine(static_cast<std::size_t>(device - impl_->inventory.devices.data()));
}

void LeaseBook::probe() { impl_->probe_due({}, true); }

}  // namespace ionian
