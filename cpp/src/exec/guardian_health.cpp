// GPUs that fail under a worker, and those that do not drain after it.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>

#include "exec/guardian.hpp"
#include "lease/quarantine.hpp"

namespace ionian {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kDriverTimeout{2000};
constexpr milliseconds kFirstDrainPause{1};
constexpr milliseconds kLastDrainPause{50};

/// Returns how long the driver may take to clear a dead worker's memory before its GPU is
/// quarantined: IONIAN_DRAIN_LIMIT in seconds, else 10.
milliseconds drain_limit() {
  const char* text = std::getenv("IONIAN_DRAIN_LIMIT");
  const double seconds = text == nullptr ? 0 : std::strtod(text, nullptr);
  return seconds > 0 && seconds < 1e6 ? milliseconds(std::llround(seconds * 1000))
                                      : milliseconds(10'000);
}

std::string in_seconds(milliseconds time) {
  const auto ms = time.count();
  return ms % 1000 == 0 ? std::to_string(ms / 1000) + " s" : std::to_string(ms) + " ms";
}

/// Returns whether every process on the GPU is somebody else's for sure: then it is in use, not
/// ill.
bool only_strangers(const DeviceHealth& health) {
  return health.processes && !health.processes->empty() &&
         std::all_of(
             health.processes->begin(), health.processes->end(),
             [](const DeviceProcess& each) { return !each.user.empty() && each.run.empty(); });
}

}  // namespace

void Guardian::watch_gpus(WorkerState& worker) {
  std::vector<std::string> uuids;
  for (const auto& device : worker.lease.devices()) {
    if (!device.simulated) uuids.push_back(device.uuid);
  }
  if (uuids.empty()) return;
  try {
    const char* own = std::getenv("IONIAN_XID_POLICY");
    if (own != nullptr) xid_overrides_ = parse_xid_overrides(own);
    worker.watch.emplace(std::move(uuids));
  } catch (const Error& error) {
    // Calls run all the same; a GPU that fails is found when it is given back.
    message::send(caller_, message::GpuNotice{worker.order.worker, error.what()});
  }
}

void Guardian::serve_gpu_events(std::uint32_t id) {
  const auto found = workers_.find(id);
  if (found == workers_.end() || !found->second.watch) return;
  while (auto event = found->second.watch->next()) on_gpu_event(found->second, *event);
}

void Guardian::on_gpu_event(WorkerState& worker, const GpuEvent& event) {
  const auto& devices = worker.lease.devices();
  const auto device = std::find_if(devices.begin(), devices.end(),
                                   [&](const Device& each) { return each.uuid == event.uuid; });
  if (device == devices.end()) return;
  XidRule rule{0, XidSeverity::kFatal, XidAction::kResetGpu, ""};
  GpuFault fault{device->uuid, device->type + " " + device->uuid, event.xid, event.trouble, ""};
  if (event.xid != 0) {
    rule = classify(event.xid, xid_overrides_);
    fault.text = "Xid " + std::to_string(event.xid) + ": " + std::string(rule.meaning);
  } else if (event.uuid.starts_with("MIG-")) {
    rule.action = XidAction::kProbe;
  }
  fault.action = advice(rule.action);
  if (rule.severity == XidSeverity::kIgnore) return;
  if (rule.severity != XidSeverity::kApplication) {
    quarantine(worker,
               {fault.uuid, fault.text, fault.action, event.xid,
                this_process_as_owner(hello_.app, worker.order.function, hello_.run)},
               0);
  }
  if (rule.severity != XidSeverity::kFatal) {
    const std::string what = rule.severity == XidSeverity::kDrain
                                 ? "; the call goes on, then the GPU is quarantined: "
                                 : "; ";
    message::send(caller_, message::GpuNotice{worker.order.worker,
                                              fault.gpu + ": " + fault.text + what + fault.action});
    return;
  }
  if (worker.fault) return;
  worker.fault = std::move(fault);
  kill_worker(worker, SIGKILL);
}

bool Guardian::quarantined(const WorkerState& worker) const {
  const auto& devices = worker.lease.devices();
  try {
    return std::any_of(devices.begin(), devices.end(),
                       [this](const Device& device) { return book_->is_quarantined(device.uuid); });
  } catch (const Error&) {
    return true;  // who asks anew for a GPU is told
  }
}

void Guardian::quarantine(const WorkerState& worker, Quarantine found, std::uint64_t memory_bytes) {
  try {
    book_->quarantine(std::move(found), memory_bytes);
  } catch (const Error& error) {  // the others go on; whoever is granted the GPU looks at it again
    message::send(caller_, message::GpuNotice{worker.order.worker, error.what()});
  }
}

void Guardian::say_draining(WorkerState& worker, const Device& device, const std::string& left) {
  try {
    book_->draining(worker.lease, device.uuid, left);
  } catch (const Error&) {
    // It is there for people to read.
  }
}

bool Guardian::drain(WorkerState& worker, const Device& device) {
  const auto now = sys::Clock::now();
  const milliseconds limit = drain_limit();
  if (worker.drain_until == sys::TimePoint{}) {
    worker.drain_until = now + limit;
    worker.drain_pause = kFirstDrainPause;
  }
  const DeviceHealth health = health_of(device, kDriverTimeout);
  Quarantine found{device.uuid, health.trouble, "", 0,
                   this_process_as_owner(hello_.app, worker.order.function, hello_.run)};
  if (health.answered && !health.trouble.empty()) {
    quarantine(worker, std::move(found), 0);
    return false;
  }
  const std::string left = what_is_left(health, device.memory_used_bytes);
  if (!left.empty() && now < worker.drain_until) {
    worker.draining = true;
    say_draining(worker, device, left);
    worker.retry_at = now + worker.drain_pause;
    worker.drain_pause = std::min(worker.drain_pause * 2, kLastDrainPause);
    return true;
  }
  if (!left.empty() && !only_strangers(health)) {
    found.reason = left + " was still on it " + in_seconds(limit) + " after its lease ended";
    found.action = "end what uses it (`fuser -v /dev/nvidia*` lists that), else reset the GPU";
    quarantine(worker, std::move(found), device.memory_used_bytes);
  }
  if (worker.draining) say_draining(worker, device, "");
  return false;
}

}  // namespace ionian
