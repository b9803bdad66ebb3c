// The public objects: a lease, a place in the queue, the book.
#include "ionian/lease.hpp"
#include "base/fault.hpp"

#include <poll.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "ionian/error.hpp"
#include "lease/lease_book.hpp"
#include "lease/satisfiable.hpp"

namespace ionian {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstPause{1};
constexpr milliseconds kLastPause{1000};
/// Without a watch on the lock directory we look this often at least, and for each that stands
/// before us so much later: it takes a while until it is our turn.
constexpr milliseconds kBlindPause{20};
constexpr milliseconds kPausePerPlace{5};

}  // namespace

Lease::Lease() noexcept = default;
Lease::Lease(Lease&& other) noexcept
    : locks_(std::move(other.locks_)),
      devices_(std::exchange(other.devices_, {})),
      alternative_(other.alternative_) {}
Lease& Lease::operator=(Lease&& other) noexcept {
  if (this != &other) {
    locks_ = std::move(other.locks_);
    devices_ = std::exchange(other.devices_, {});
    alternative_ = other.alternative_;
  }
  return *this;
}
Lease::~Lease() = default;

std::string Lease::visible_devices() const {
  std::string text;
  std::set<std::string_view> named;
  for (const auto& device : devices_) {
    const std::string_view gpu = gpu_of(device.uuid);
    if (!named.insert(gpu).second) continue;
    text.append(text.empty() ? "" : ",").append(gpu);
  }
  return text;
}

void Lease::release() noexcept {
  devices_.clear();
  locks_.reset();
}

LeaseWaiter::LeaseWaiter(std::unique_ptr<State> state) : state_(std::move(state)) {}
LeaseWaiter::LeaseWaiter(LeaseWaiter&&) noexcept = default;
LeaseWaiter& LeaseWaiter::operator=(LeaseWaiter&&) noexcept = default;
LeaseWaiter::~LeaseWaiter() = default;

std::optional<Lease> LeaseWaiter::try_grant() {
  if (!state_->ticket) return std::nullopt;  // granted before
  LeaseBook::Impl& book = *state_->book;
  if (state_->changes_seen != book.change_count()) {
    // The event comes just before the kernel drops the lock: look again at once, then less often.
    state_->changes_seen = book.change_count();
    state_->pause = kFirstPause;
  } else {
    state_->pause = std::min(state_->pause * 2, kLastPause);
  }
  for (;;) {
    auto granted = book.decide(state_->record);
    if (!granted) {
      if (book.probe_due(state_->record)) continue;  // one is well again
      break;
    }
    if (book.strangers_on(*granted, state_->record.owner)) continue;  // those count as busy now
    book.write_owner(*granted, state_->record.owner);
    Lease lease;
    for (const std::size_t gpu : granted->gpus)
      lease.devices_.push_back(book.inventory.devices[gpu]);
    lease.locks_ = std::make_unique<Lease::Locks>();
    lease.locks_->files = std::move(granted->locks);
    for (auto& lock : granted->shared) lease.locks_->files.push_back(std::move(lock));
    lease.alternative_ = granted->alternative;
    FAULT("lease.granted");
    state_->ticket.reset();
    book.forget(state_->record.number);
    return lease;
  }
  const bool watching = book.changes() >= 0;
  // What changed before we watched made no event.
  if (watching && !std::exchange(state_->watching, watching)) state_->pause = kFirstPause;
  return std::nullopt;
}

milliseconds LeaseWaiter::retry_after() const {
  auto wait = state_->pause;
  if (state_->book->changes() < 0) {
    const auto turn = kPausePerPlace * static_cast<int>(position());
    wait = turn > kBlindPause ? turn : std::min(wait, kBlindPause);
  }
  const auto now = sys::Clock::now();
  const auto look =
      std::min(state_->book->next_look(), state_->book->next_probe_time(state_->record));
  if (look != sys::TimePoint::max()) {
    wait = std::min(wait, std::max(kFirstPause, std::chrono::ceil<milliseconds>(look - now)));
  }
  return wait;
}

std::size_t LeaseWaiter::position() const noexcept {
  return state_->book->position(state_->record.number);
}

LeaseExplanation LeaseWaiter::explain() const {
  return state_->book->explain(state_->request, state_->record);
}

LeaseBook::LeaseBook(Inventory inventory, LeaseBookOptions options)
    : impl_(std::make_shared<Impl>(std::move(inventory), std::move(options))) {}
LeaseBook::~LeaseBook() = default;
LeaseBook::LeaseBook(LeaseBook&&) noexcept = default;
LeaseBook& LeaseBook::operator=(LeaseBook&&) noexcept = default;

const Inventory& LeaseBook::inventory() const noexcept { return impl_->inventory; }

void LeaseBook::check(const GpuRequest& request, const std::vector<std::string>& held_by_ancestors,
                      const LeaseOwner& asker) const {
  check_satisfiable(request, impl_->inventory_now(), impl_->options.match, held_by_ancestors,
                    asker);
}

LeaseExplanation LeaseBook::explain(const GpuRequest& request,
                                    const std::vector<std::string>& held_by_ancestors,
                                    const LeaseOwner& asker) const {
  return impl_->explain(request, impl_->record_of(request, asker, held_by_ancestors));
}

std::vector<LeaseStatus> LeaseBook::leases() const { return impl_->leases(); }

LeaseWaiter LeaseBook::request(const GpuRequest& request, LeaseOwner owner,
                               const std::vector<std::string>& held_by_ancestors) {
  check(request, held_by_ancestors, owner);
  auto state = std::make_unique<LeaseWaiter::State>();
  state->book = impl_;
  state->request = request;
  state->record = impl_->record_of(request, std::move(owner), held_by_ancestors);
  state->ticket = impl_->enter(state->record);
  return LeaseWaiter(std::move(state));
}

Lease LeaseBook::acquire(const GpuRequest& request, LeaseOwner owner,
                         std::optional<milliseconds> timeout) {
  const auto deadline = timeout ? sys::Clock::now() + *timeout : sys::TimePoint::max();
  LeaseWaiter waiter = this->request(request, std::move(owner));
  for (;;) {
    if (auto lease = waiter.try_grant()) return std::move(*lease);
    const auto now = sys::Clock::now();
    if (now >= deadline) {
      throw LeaseTimeoutError("[gpu=" + request.to_string() + "] not granted within " +
                              std::to_string(timeout->count()) + " ms\n" +
                              waiter.explain().to_string());
    }
    auto wait = waiter.retry_after();
    if (timeout) wait = std::min(wait, std::chrono::ceil<milliseconds>(deadline - now));
    pollfd polled{changes(), POLLIN, 0};
    ::poll(&polled, 1, static_cast<int>(wait.count()));
    drain_changes();
  }
}

int LeaseBook::changes() const noexcept {
  try {
    return impl_->changes();
  } catch (const Error&) {
    return -1;
  }
}

void LeaseBook::drain_changes() { impl_->drain_changes(); }

std::vector<LeaseStatus> LeaseBook::status() const { return impl_->status(); }

std::vector<LeaseTicket> LeaseBook::queue() const {
  std::vector<LeaseTicket> queue;
  for (const auto& ticket : impl_->tickets()) queue.push_back(ticket.public_view());
  return queue;
}

std::vector<LeaseDemand> LeaseBook::wanted(const std::vector<std::string>& held,
                                           const std::vector<std::string>& leaving) const {
  return impl_->wanted(held, leaving);
}

LeaseOwner this_process_as_owner(std::string app, std::string function, std::string run) {
  LeaseOwner owner;
  owner.pid = ::getpid();
  owner.uid = ::geteuid();
  std::array<char, 4096> buffer;  // NOLINT: filled by getpwuid_r
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(owner.uid, &entry, buffer.data(), buffer.size(), &found) == 0 &&
      found != nullptr) {
    owner.user = entry.pw_name;
  }
  owner.app = std::move(app);
  owner.function = std::move(function);
  owner.run = std::move(run);
  owner.since_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  return owner;
}

}  // namespace ionian
