// Everything that happens because time passes: timeouts, grace, next attempts, idle workers.
#include <algorithm>

#include "exec/executor.hpp"

namespace ionian {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr std::chrono::seconds kTellWaitingAgain{30};

/// Returns a duration as a person would write it: "0.3 s", "300 s".
std::string in_seconds(nanoseconds duration) {
  std::string text = std::to_string(std::chrono::duration<double>(duration).count());
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text + " s";
}

std::exception_ptr timeout_error(const PoolOptions& options) {
  return std::make_exception_ptr(FunctionTimeoutError(
      "[" + options.name + "] the call ran longer than its timeout of " +
      in_seconds(options.timeout) +
      "; its worker is ended. Raise timeout= of the function if it needs longer"));
}

const char* phrase(CallFailure why) {
  switch (why) {
    case CallFailure::kTimedOut:
      return " ran longer than its timeout";
    case CallFailure::kWorkerDied:
      return " lost its worker";
    default:
      return " raised";
  }
}

}  // namespace

void Executor::look_again_by(sys::TimePoint when) {
  if (when < control_until_) wake_control();
}

sys::TimePoint Executor::run_timers() {
  const auto now = sys::Clock::now();
  next_attempts(now);
  auto next = delayed_.empty() ? sys::TimePoint::max() : delayed_.begin()->first;
  for (auto& pool : pools_) {
    if (pool.tell_waiting_at && *pool.tell_waiting_at <= now) tell_waiting(pool, now);
    if (pool.tell_waiting_at) next = std::min(next, *pool.tell_waiting_at);
    next = std::min(next, time_out_leases(pool));
    refill(pool, now);
    next = std::min(next, pool.refill_at);
    // By id: a worker that still waits for GPUs may be given up meanwhile.
    std::vector<std::uint32_t> ids;
    for (const WorkerRecord* worker : pool.workers) ids.push_back(worker->id);
    std::size_t live = ids.size();
    for (const std::uint32_t id : ids) {
      if (WorkerRecord* worker = find(id)) next = std::min(next, look_at(*worker, live, now));
    }
  }
  if (guardian_) give_back_wanted();
  if (guardian_ && guardian_.unsent() != 0) next = now;
  return next;
}

void Executor::tell_waiting(Pool& pool, sys::TimePoint now) {
  pool.tell_waiting_at = now + kTellWaitingAgain;
  const bool running =
      std::any_of(pool.workers.begin(), pool.workers.end(),
                  [](const auto* worker) { return worker->phase == WorkerRecord::Phase::kReady; });
  if (!running && !pool.waiting.empty() && !pool.queue.empty())
    emit({ExecutorEvent::Kind::kNotice, 0, pool.options.name, pool.waiting});
}

/// Does what is due for one worker of a pool that has `live` of them; returns when to look again.
sys::TimePoint Executor::look_at(WorkerRecord& worker, std::size_t& live, sys::TimePoint now) {
  if (worker.phase == WorkerRecord::Phase::kStarting) return time_start(worker, now);
  if (worker.phase != WorkerRecord::Phase::kReady) return sys::TimePoint::max();
  if (!worker.in_flight.empty()) return time_body(worker, now);
  const PoolOptions& options = worker.pool->options;
  if (live <= options.min_containers) return sys::TimePoint::max();
  const auto retire_at = worker.idle_since + options.scaledown_window;
  if (retire_at > now) return retire_at;
  --live;
  retire(worker);
  return sys::TimePoint::max();
}

sys::TimePoint Executor::time_start(WorkerRecord& worker, sys::TimePoint now) {
  Pool& pool = *worker.pool;
  const auto limit = pool.options.startup_timeout;
  if (limit.count() == 0 || !worker.starting_since) return sys::TimePoint::max();
  if (*worker.starting_since + limit > now) return *worker.starting_since + limit;
  pump_worker(worker);
  if (worker.phase != WorkerRecord::Phase::kStarting) return now;
  WorkerDeath death;
  death.pid = worker.pid;
  death.log_tail = worker.log_tail;
  death.cause = "it was not ready within its startup_timeout of " + in_seconds(limit);
  stop_worker(worker, milliseconds(0), true);
  // Those that are ready carry on; without any, waiting as long once more would help nobody.
  const bool running = std::any_of(pool.workers.begin(), pool.workers.end(), [](const auto* other) {
    return other->phase == WorkerRecord::Phase::kReady;
  });
  start_failed(pool, std::move(death), !running);
  doorbell_.ring();
  return sys::TimePoint::max();
}

sys::TimePoint Executor::time_body(WorkerRecord& worker, sys::TimePoint now) {
  const PoolOptions& options = worker.pool->options;
  const CallPtr call = worker.in_flight.front();
  if (worker.kill_at) {
    if (*worker.kill_at > now) return *worker.kill_at;
    if (still_runs(worker, call)) stop_worker(worker, milliseconds(0), true);
    return sys::TimePoint::max();
  }
  if (options.timeout.count() == 0) return sys::TimePoint::max();
  const std::uint64_t started = worker.channel->started_ns();
  const auto ran = started == 0 ? nanoseconds(0) : nanoseconds(channel::now_ns() - started);
  if (ran < options.timeout) return now + (options.timeout - ran);
  if (!still_runs(worker, call)) return now;
  call->timed_out = true;
  interrupt(worker, call);
  // Where another attempt follows, it does so once this one has ended: never two at once.
  if (!next_attempt(options.retries, call->attempts + 1, CallFailure::kTimedOut))
    fail(call, timeout_error(options));
  plan(*worker.pool);
  doorbell_.ring();
  return *worker.kill_at;
}

/// Makes sure that ending the worker ends `call` alone: what lies behind it goes back to the queue,
/// nothing new comes. Returns whether the call has no answer yet.
bool Executor::still_runs(WorkerRecord& worker, const CallPtr& call) {
  worker.leaving = true;
  take_back(worker);
  pump_worker(worker);
  return !worker.in_flight.empty() && worker.in_flight.front() == call;
}

/// Tells the body to end; after the grace its worker is killed.
void Executor::interrupt(WorkerRecord& worker, const CallPtr& call) {
  if (worker.kill_at) return;  // it has been told
  worker.channel->cancel(call->id);
  worker.kill_at = sys::Clock::now() + worker.pool->options.grace;
  look_again_by(*worker.kill_at);
}

/// An attempt has failed. Returns whether the call will have another; then it waits for that, and
/// holds no worker.
bool Executor::try_again(const CallPtr& call, CallFailure why) {
  Pool& pool = *call->pool;
  const RetryPolicy& policy = pool.options.retries;
  if (why != CallFailure::kNotStarted) ++call->attempts;
  const auto delay = next_attempt(policy, call->attempts, why);
  if (!delay) return false;
  emit({ExecutorEvent::Kind::kNotice, 0, pool.options.name,
        "attempt " + std::to_string(call->attempts) + " of " +
            std::to_string(policy.max_retries + 1) + phrase(why) + "; the next begins in " +
            in_seconds(*delay)});
  call->state = Call::State::kDelayed;
  call->worker = nullptr;
  call->timed_out = false;
  call->retry_at = sys::Clock::now() + *delay;
  delayed_.emplace(call->retry_at, call);
  look_again_by(call->retry_at);
  return true;
}

/// Puts the calls whose next attempt is due into the queues.
void Executor::next_attempts(sys::TimePoint now) {
  while (!delayed_.empty() && delayed_.begin()->first <= now) {
    const CallPtr call = delayed_.extract(delayed_.begin()).mapped();
    Pool& pool = *call->pool;
    call->state = Call::State::kQueued;
    if (pool.broken) {
      fail(call, pool.broken);
      doorbell_.ring();
      continue;
    }
    call->queued_at = now;
    pool.queue.push_back(call);
    dispatch(pool);
    plan(pool);
  }
}

}  // namespace ionian
