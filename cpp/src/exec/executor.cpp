#include "exec/executor.hpp"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "exec/fork_guard.hpp"
#include "exec/process.hpp"

namespace ionian {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

/// A little more than one wake-up of a sleeping process costs on a virtual machine.
constexpr nanoseconds kSpin = std::chrono::microseconds(40);
constexpr nanoseconds kLookForStuck = milliseconds(1);
constexpr nanoseconds kLookAgain = milliseconds(50);

unsigned usable_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return static_cast<unsigned>(std::max(1, CPU_COUNT(&set)));
}

void write_one(int event_fd) {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(event_fd, &one, sizeof(one));
}

OwnedPayload copy(const Payload& payload) {
  OwnedPayload owned;
  owned.head.assign(payload.head.begin(), payload.head.end());
  for (const auto& buffer : payload.buffers)
    owned.buffers.emplace_back(buffer.begin(), buffer.end());
  return owned;
}

}  // namespace

CallGroup::CallGroup(int fd)
    : completions(fd < 0 ? UniqueFd() : UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 3))) {
  if (fd >= 0 && !completions) throw_errno("duplicate an eventfd", errno);
}

void Executor::watch(const CallPtr& call, int fd) {
  const Lock lock = enter();
  if (call->state == Call::State::kDone) return write_one(fd);
  UniqueFd mine(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!mine) throw_errno("duplicate an eventfd", errno);
  call->watchers.insert_or_assign(fd, std::move(mine));
}

void Executor::unwatch(const CallPtr& call, int fd) {
  const Lock lock = enter();
  call->watchers.erase(fd);
}

Executor::Executor(ExecutorOptions options)
    : options_(std::move(options)),
      run_id_(process::random_id()),
      fork_generation_(fork_guard::generation()),
      closed_(sys::event_fd()),
      wake_control_(sys::event_fd()),
      processors_(usable_processors()) {
  parse_gpu_match(options_.match);  // a bad name is the caller's error, not the guardian's
  start_guardian();
  control_ = std::thread([this] { control_loop(); });
  pump_ = std::thread([this] { pump_loop(); });
}

Executor::~Executor() {
  if (forked()) {
    // In a forked child neither thread exists, and the guardian is the parent's.
    control_.detach();
    pump_.detach();
    return;
  }
  close(milliseconds(0));
}

bool Executor::forked() const noexcept { return fork_guard::generation() != fork_generation_; }

void Executor::check_process() const {
  if (!forked()) return;
  throw ExecutionError("[executor] this handle belongs to the process that made it (run " +
                       run_id_.substr(0, 8) +
                       "), not to a child forked from it; open app.run() here");
}

/// Takes the lock for a caller. A forked child may have got it locked by a thread that is not
/// there.
Executor::Lock Executor::enter() {
  check_process();
  return Lock(mutex_);
}

void Executor::check_usable() const {
  if (!stopped_.empty())
    throw ExecutionError("[executor] the run was stopped " + stopped_ + "; open app.run() again");
  if (state_ != State::kOpen)
    throw ExecutionError("[executor] the run has ended; open app.run() again");
}

CallPtr Executor::submit(Pool* pool, const Payload& payload, std::shared_ptr<CallGroup> group,
                         std::uint64_t tag, bool borrow) {
  auto call = std::make_shared<Call>();
  call->tag = tag;
  call->pool = pool;
  call->group = std::move(group);
  call->attended = borrow;
  call->borrowed = payload;
  const Lock lock = enter();
  check_usable();
  if (pool->broken) std::rethrow_exception(pool->broken);
  call->id = next_call_++;
  WorkerRecord* worker = pool->queue.empty() ? choose_worker(*pool) : nullptr;
  // What lies in a worker's ring is the body's to change, so another attempt needs a copy.
  if (!borrow && (worker == nullptr || pool->options.retries.max_retries != 0)) {
    call->owned = copy(payload);
    call->owns_payload = true;
  }
  if (worker != nullptr) send_call(*worker, call);  // may throw: nothing has been counted yet
  if (call->group) ++call->group->pending;
  if (!borrow && ++unattended_ == 1) pump_wanted_.notify_one();
  if (worker == nullptr) {
    if (const auto limit = pool->options.lease_timeout; limit.count() > 0) {
      call->queued_at = sys::Clock::now();
      if (call->queued_at + limit < control_until_) wake_control();
    }
    pool->queue.push_back(call);
    plan(*pool);
  }
  if (!borrow) call->borrowed = {};
  return call;
}

WorkerRecord* Executor::choose_worker(Pool& pool) {
  const std::size_t depth = prefetch_depth(pool.mean_call_s);
  WorkerRecord* best = nullptr;
  for (WorkerRecord* worker : pool.workers) {
    if (worker->phase != WorkerRecord::Phase::kReady || worker->leaving) continue;
    if (worker->in_flight.size() >= depth || worker->channel->full()) continue;
    if (best == nullptr || worker->in_flight.size() < best->in_flight.size()) best = worker;
    if (best->in_flight.empty()) break;
  }
  return best;
}

void Executor::send_call(WorkerRecord& worker, const CallPtr& call) {
  std::vector<std::span<const std::byte>> buffers;
  Payload payload = call->borrowed;
  if (call->owns_payload) {
    for (const auto& buffer : call->owned.buffers) buffers.emplace_back(buffer);
    payload = {call->owned.head, buffers};
  }
  call->sequence = worker.channel->send(call->id, RequestKind::kCall, payload);
  call->state = Call::State::kSent;
  call->worker = &worker;
  worker.in_flight.push_back(call);
  note_load(worker);
  const PoolOptions& options = call->pool->options;
  if (options.single_use) worker.leaving = true;
  if (options.timeout.count() > 0) look_again_by(sys::Clock::now() + options.timeout);
}

void Executor::note_load(WorkerRecord& worker) {
  if (worker.busy == worker.in_flight.empty()) {
    worker.busy = !worker.busy;
    busy_workers_ += worker.busy ? 1U : -1U;
  }
  if (!worker.busy || !worker.channel) return;
  // Spinning pays only while all who might spin, the caller too, have a processor each.
  const auto spin = busy_workers_ + 1 <= processors_ ? kSpin : nanoseconds(0);
  if (spin != worker.spin) worker.channel->set_spin(worker.spin = spin);
}

void Executor::dispatch(Pool& pool) {
  while (!pool.queue.empty()) {
    WorkerRecord* worker = choose_worker(pool);
    if (worker == nullptr) break;
    const CallPtr call = pool.queue.front();
    pool.queue.pop_front();
    try {
      send_call(*worker, call);
    } catch (const Error&) {  // no memory for its payload, say: this call's trouble, not the pool's
      fail(call, std::current_exception());
    }
  }
}

bool Executor::pump() {
  bool any = false;
  for (const auto& [id, worker] : workers_) any |= pump_worker(*worker);
  return any;
}

bool Executor::pump_worker(WorkerRecord& worker) {
  if (!worker.channel) return false;
  bool any = false;
  try {
    while (auto reply = worker.channel->receive()) {
      any = true;
      on_reply(worker, std::move(*reply));
    }
  } catch (const Error& error) {
    // The worker wrote something impossible. It is of no further use.
    emit({ExecutorEvent::Kind::kWarning, worker.ordinal, worker.pool->options.name, error.what()});
    stop_worker(worker, milliseconds(0), true);
  }
  if (any && worker.phase == WorkerRecord::Phase::kReady) {
    dispatch(*worker.pool);
    if (worker.leaving && worker.in_flight.empty()) {
      retire(worker);
      plan(*worker.pool);
    } else if (worker.in_flight.empty()) {
      worker.idle_since = sys::Clock::now();
      if (!wanted_.empty() ||
          worker.idle_since + worker.pool->options.scaledown_window < control_until_) {
        wake_control();
      }
      rebalance(*worker.pool);
    }
  }
  return any;
}

void Executor::on_reply(WorkerRecord& worker, Received reply) {
  Pool& pool = *worker.pool;
  if (reply.call == 0) {  // the setup
    if (worker.phase != WorkerRecord::Phase::kStarting) return;
    if (static_cast<ReplyStatus>(reply.code) == ReplyStatus::kReturned) {
      worker.phase = WorkerRecord::Phase::kReady;
      worker.idle_since = sys::Clock::now();
      pool.failed_starts = 0;
      pool.refill_pause = milliseconds(0);
      pool.waiting.clear();
      pool.tell_waiting_at.reset();
      if (std::exchange(pool.given_up, false)) plan(pool);
      return;
    }
    WorkerDeath death;
    death.cause = "its function could not be loaded";
    const auto text = reply.head();
    death.log_tail.assign(reinterpret_cast<const char*>(text.data()), text.size());
    stop_worker(worker, milliseconds(0), true);
    return start_failed(pool, std::move(death), true);
  }
  if (worker.in_flight.empty() || worker.in_flight.front()->id != reply.call) {
    throw ExecutionError("[executor] a worker answered call " + std::to_string(reply.call) +
                         ", which it was not asked");
  }
  const CallPtr call = worker.in_flight.front();
  worker.in_flight.pop_front();
  note_load(worker);
  const double seconds = static_cast<double>(reply.duration_ns) * 1e-9;
  pool.mean_call_s = pool.mean_call_s == 0 ? std::max(seconds, 1e-9)
                                           : pool.mean_call_s + (seconds - pool.mean_call_s) / 8;
  worker.kill_at.reset();
  if (call->state == Call::State::kDone) return;  // cancelled or timed out meanwhile
  const auto status = static_cast<ReplyStatus>(reply.code);
  if (status != ReplyStatus::kReturned || call->timed_out) {
    const CallFailure why = call->timed_out                   ? CallFailure::kTimedOut
                            : status == ReplyStatus::kRefused ? CallFailure::kRefused
                                                              : CallFailure::kRaised;
    if (try_again(call, why)) return;
  }
  call->reply = std::move(reply);
  complete(call);
}

void Executor::complete(const CallPtr& call) {
  call->state = Call::State::kDone;
  call->worker = nullptr;
  call->owned = {};
  call->borrowed = {};
  if (!call->attended) --unattended_;
  call->notify();
  for (const auto& [asked, watcher] : call->watchers) write_one(watcher.get());
  call->watchers.clear();
  // The group leads to the call from here on, and not the other way round: no cycle.
  const auto group = std::exchange(call->group, nullptr);
  if (!group) return;
  group->done.push_back(call);
  group->notify();
  if (group->completions) write_one(group->completions.get());
}

void Executor::fail(const CallPtr& call, std::exception_ptr why) {
  if (call->state == Call::State::kDone) return;
  call->failure = std::move(why);
  complete(call);
}

void Executor::fail_queue(Pool& pool, const std::exception_ptr& why) {
  while (!pool.queue.empty()) {
    const CallPtr call = pool.queue.front();
    pool.queue.pop_front();
    fail(call, why);
  }
}

nanoseconds Executor::spin_time() const {
  if (busy_workers_ + 1 > processors_) return nanoseconds(0);
  return spins_in_vain_ < 8 || spins_in_vain_ % 16 == 0 ? kSpin : nanoseconds(0);
}

bool Executor::wait(const Waitable& target, sys::TimePoint deadline) {
  auto& waitable = const_cast<Waitable&>(target);
  Lock lock = enter();
  for (;;) {
    if (target.ready()) return true;
    if (leading_) {
      std::condition_variable mine;
      followers_.push_back(&mine);
      waitable.waiters.push_back(&mine);
      const bool late = mine.wait_until(lock, deadline) == std::cv_status::timeout;
      std::erase(waitable.waiters, &mine);
      std::erase(followers_, &mine);
      if (late) return target.ready();
      continue;
    }
    lead(lock, target, deadline);
    if (target.ready()) return true;
    if (sys::Clock::now() >= deadline) return false;
  }
}

/// Does the work of all who wait, once.
void Executor::lead(Lock& lock, const Waitable& target, sys::TimePoint deadline) {
  // However it ends: nobody else leads as long as somebody seems to.
  struct Leading {
    Executor& executor;
    Lock& lock;
    Leading(Executor& executor_, Lock& lock_) : executor(executor_), lock(lock_) {
      executor.leading_ = true;
    }
    Leading(const Leading&) = delete;
    Leading& operator=(const Leading&) = delete;
    ~Leading() {
      if (!lock.owns_lock()) lock.lock();
      executor.leading_ = false;
      if (!executor.followers_.empty()) executor.followers_.front()->notify_one();
    }
  };
  const Leading leading(*this, lock);
  const std::uint32_t seen = doorbell_.count();
  if (pump() || target.ready()) return;
  const bool stuck = rebalance();
  const auto spin = spin_time();
  lock.unlock();
  const auto now = sys::Clock::now();
  const auto limit =
      deadline <= now ? nanoseconds(0)
                      : std::min<nanoseconds>(deadline - now, stuck ? kLookForStuck : kLookAgain);
  bool rang = false;
  if (limit.count() > 0) {
    rang = spin.count() > 0 && doorbell_.spin(seen, spin);
    if (!rang) doorbell_.wait(seen, limit);
  }
  lock.lock();
  spins_in_vain_ = rang ? 0 : spins_in_vain_ + 1;
  pump();
}

void Executor::pump_loop() {
  Lock lock(mutex_);
  while (state_ != State::kClosed) {
    if (unattended_ == 0) {
      pump_wanted_.wait(lock);
      continue;
    }
    if (leading_) {  // somebody who waits does the work
      pump_wanted_.wait_for(lock, milliseconds(1));
      continue;
    }
    const std::uint32_t seen = doorbell_.count();
    if (pump()) continue;
    const bool stuck = rebalance();
    lock.unlock();
    doorbell_.wait(seen, stuck ? kLookForStuck : kLookAgain);
    lock.lock();
    pump();
  }
}

std::vector<CallPtr> Executor::take(CallGroup& group, std::size_t limit) {
  const Lock lock = enter();
  std::vector<CallPtr> taken;
  if (group.done.empty()) pump();
  while (!group.done.empty() && taken.size() < limit) {
    taken.push_back(std::move(group.done.front()));
    group.done.pop_front();
    --group.pending;
  }
  return taken;
}

void Executor::cancel(std::span<const CallPtr> calls, bool terminate) {
  const Lock lock = enter();
  // Those that wait first and those that run last, so that none begins while others end.
  std::vector<CallPtr> sent;
  bool any = false;
  for (const auto& call : calls) {
    if (call->state == Call::State::kDone) continue;
    any = true;
    if (call->state == Call::State::kSent) {
      sent.push_back(call);
    } else {
      cancel_one(call, terminate);
    }
  }
  if (!any) return;
  std::sort(sent.begin(), sent.end(), [](const auto& a, const auto& b) { return a->id > b->id; });
  for (const auto& call : sent) cancel_one(call, terminate);
  for (auto& pool : pools_) plan(pool);
  doorbell_.ring();  // whoever waits for one of them may be the one who leads
}

void Executor::cancel_one(const CallPtr& call, bool terminate) {
  if (call->state == Call::State::kDone) return;
  Pool& pool = *call->pool;
  if (call->state == Call::State::kQueued) {
    std::erase(pool.queue, call);
  } else if (call->state == Call::State::kDelayed) {
    const auto [first, last] = delayed_.equal_range(call->retry_at);
    delayed_.erase(
        std::find_if(first, last, [&](const auto& each) { return each.second == call; }));
  } else {
    WorkerRecord& worker = *call->worker;
    if (worker.channel->revoke(call->sequence)) {
      std::erase(worker.in_flight, call);
      note_load(worker);
      worker.leaving = worker.leaving && !worker.in_flight.empty();
    } else if (!terminate) {
      interrupt(worker, call);
    } else if (still_runs(worker, call)) {
      stop_worker(worker, milliseconds(0), true);
    }
  }
  fail(call, std::make_exception_ptr(
                 RemoteError("[" + pool.options.name + "] the call was cancelled by its caller")));
}

std::size_t Executor::workers(const Pool* pool) {
  const Lock lock = enter();
  return pool->workers.size();
}

std::size_t Executor::queued(const Pool* pool) {
  const Lock lock = enter();
  return pool->queue.size();
}

}  // namespace ionian
