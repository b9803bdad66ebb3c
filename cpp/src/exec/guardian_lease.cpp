#include <algorithm>
#include <chrono>

#include "base/fault.hpp"
#include "exec/guardian.hpp"
#include "ionian/error.hpp"

namespace ionian {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t kLongQueue = 1000;
constexpr milliseconds kFirstLook{1};
constexpr milliseconds kLastLook{1000};
constexpr milliseconds kBlindLook{100};

}  // namespace

LeaseBook& Guardian::book() {
  if (!book_) {
    // The driver is asked only when the first GPU is: a run on CPUs never loads it.
    InventoryOptions options = InventoryOptions::from_environment();
    if (hello_.has_simulate) options.simulate = hello_.simulate;
    options.processes = false;
    LeaseBookOptions lease_options = LeaseBookOptions::from_environment();
    lease_options.lock_dir = hello_.lock_dir;
    lease_options.match = parse_gpu_match(hello_.match);
    book_ = std::make_unique<LeaseBook>(read_inventory(options), lease_options);
  }
  return *book_;
}

void Guardian::request_lease(WorkerState& worker) {
  worker.phase = WorkerState::Phase::kQueued;
  try {
    FAULT("guardian.request_lease");
    LeaseOwner owner = this_process_as_owner(hello_.app, worker.order.function, hello_.run);
    owner.pid = hello_.caller_pid;
    owner.callers = hello_.callers;
    worker.waiter =
        book().request(GpuRequest::parse(worker.order.request), owner, hello_.held_by_ancestors);
  } catch (const Error& error) {
    return lease_failed(worker, error);
  }
  try_lease(worker);
}

void Guardian::lease_failed(WorkerState& worker, const Error& error) {
  message::send(caller_, message::LeaseFailed{worker.order.worker, error.kind(), error.what()});
  worker.waiter.reset();
  worker.phase = WorkerState::Phase::kEnded;
  worker.release = true;
  worker.lease.release();  // nobody knows of it: a GPU that it got already would never come back
}

void Guardian::try_lease(WorkerState& worker) {
  std::optional<Lease> lease;
  try {
    lease = worker.waiter->try_grant();
    if (!lease) {
      worker.retry_at = sys::Clock::now() + worker.waiter->retry_after();
      return explain(worker);
    }
    worker.lease = std::move(*lease);
    FAULT("guardian.leased");
  } catch (const Error& error) {
    return lease_failed(worker, error);
  }
  worker.waiter.reset();
  launch(worker);
}

void Guardian::explain(WorkerState& worker) {
  const auto now = sys::Clock::now();
  // To explain reads the whole queue, and everybody in it explains: their work together is to stay
  // the same however many they are.
  const auto position = std::min<std::size_t>(worker.waiter->position(), kLongQueue);
  const auto pause =
      std::max<sys::Clock::duration>(seconds(1), microseconds(100) * position * position);
  if (now - worker.explained_at < pause) return;
  worker.explained_at = now;
  const std::string text = worker.waiter->explain().to_string();
  message::send(caller_, message::Waiting{worker.order.worker, text});
}

void Guardian::lease_changed() {
  book_->drain_changes();
  for (auto& [id, worker] : workers_) {
    if (worker.phase == WorkerState::Phase::kQueued && worker.waiter) try_lease(worker);
  }
  look_pause_ = kFirstLook;
  tell_wanted();
}

/// Tells the caller which of our GPUs others wait for, and sets when to look again: soon after a
/// change, as it may be seen just before the kernel drops the lock, then less and less and no more;
/// for ever where the kernel does not say that there was one.
void Guardian::tell_wanted() {
  std::vector<std::string> held;
  std::vector<std::string> leaving;
  for (const auto& [id, worker] : workers_) {
    const bool going = worker.phase == WorkerState::Phase::kEnded || worker.release;
    for (const auto& device : worker.lease.devices())
      (going ? leaving : held).push_back(device.uuid);
  }
  const bool blind = !held.empty() && book_->changes() < 0;
  if (blind) look_pause_ = std::min(look_pause_, kBlindLook);
  const bool settled = held.empty() || look_pause_ > kLastLook;
  look_at_ = settled ? sys::TimePoint::max() : sys::Clock::now() + look_pause_;
  look_pause_ *= 2;
  std::vector<LeaseDemand> wanted;
  try {
    if (!held.empty()) wanted = book_->wanted(held, leaving);
  } catch (const Error&) {
    // Somebody keeps the book, or no descriptor is left: no reason to lose the calls that run.
    look_at_ = sys::Clock::now() + kLastLook;
    return;
  }
  if (wanted.empty() && !told_wanted_) return;
  message::Wanted message;
  for (const auto& demand : wanted) {
    message.counts.push_back(static_cast<std::uint32_t>(demand.count));
    message.sizes.push_back(static_cast<std::uint32_t>(demand.uuids.size()));
    message.uuids.insert(message.uuids.end(), demand.uuids.begin(), demand.uuids.end());
  }
  message::send(caller_, message);
  told_wanted_ = !wanted.empty();
}

bool Guardian::slices_held(const WorkerState* but) const {
  return std::any_of(workers_.begin(), workers_.end(), [&](const auto& entry) {
    const auto& devices = entry.second.lease.devices();
    return &entry.second != but &&
           std::any_of(devices.begin(), devices.end(), [](const Device& device) {
             return is_slice(device.uuid) && !device.simulated;
           });
  });
}

std::vector<std::string> Guardian::mps_env(const WorkerState& worker) {
  const auto& devices = worker.lease.devices();
  if (devices.empty() || !is_slice(devices.front().uuid) || devices.front().simulated) return {};
  // After the death of a client the server's state is in doubt, says NVIDIA's guide; nobody else
  // needs it now.
  if (mps_doubtful_ && !slices_held(&worker)) {
    mps_.reset();
    mps_tried_ = false;
  }
  if (!mps_tried_) {
    mps_tried_ = true;
    mps_doubtful_ = false;
    mps_ = Mps::start(hello_.run);
  }
  return mps_ ? mps_->environment() : std::vector<std::string>{};
}

bool Guardian::drained(WorkerState& worker) {
  for (const auto& device : worker.lease.devices()) {
    // Of a slice nobody knows which memory is whose, and its GPU may be in use for good.
    if (device.simulated || is_slice(device.uuid)) continue;
    if (drain(worker, device)) return false;
  }
  return true;
}

void Guardian::give_back(WorkerState& worker) {
  status_changed_ = true;
  worker.waiter.reset();
  if (!worker.lease) return;
  // Every acquirer looks again after taking the lock, so a GPU that does not drain is not handed
  // out even though its lock is free.
  if (!drained(worker)) return;
  FAULT("guardian.give_back");
  worker.watch.reset();
  worker.lease.release();
  if (mps_ && !slices_held(nullptr)) {
    mps_.reset();  // its server would look like a stranger to who wants the whole GPU
    mps_tried_ = false;
  }
  // Our own waiters need no news from the kernel.
  for (auto& [id, other] : workers_) {
    if (other.phase == WorkerState::Phase::kQueued) other.retry_at = sys::Clock::now();
  }
}

}  // namespace ionian
