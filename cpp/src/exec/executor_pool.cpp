// Pools: how many workers, which of them go, and what becomes of the calls of one that is stuck or
// died.
#include <algorithm>
#include <csignal>
#include <cstring>
#include <set>

#include "exec/executor.hpp"

namespace ionian {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr int kMaxLostStarts = 3;
constexpr milliseconds kGrace{5000};
/// From one time that a pool is given up to when min_containers is tried again.
constexpr milliseconds kFirstRefill{1000};
constexpr milliseconds kLastRefill{300'000};
/// A worker whose current call runs longer than this gives the calls behind it to an idle one.
constexpr nanoseconds kStuckBehind = milliseconds(1);

std::string signal_name(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name == nullptr ? "signal " + std::to_string(signal)
                         : "SIG" + std::string(name) + " (signal " + std::to_string(signal) + ")";
}

/// Returns what the call that ran gets when a GPU failed under it.
std::exception_ptr gpu_unhealthy(const std::string& pool, const message::Exited& exited,
                                 const std::string& attempts) {
  std::string text =
      "[" + pool + "] " + exited.gpu + " failed while it ran the function: " + exited.gpu_fault +
      "\nthe worker was ended and the GPU is quarantined: the next call gets another "
      "GPU, or waits until this one is well";
  if (!exited.gpu_action.empty()) text += "\nnext: " + exited.gpu_action;
  text += attempts;
  return std::make_exception_ptr(GpuUnhealthyError(
      text, {exited.gpu_uuid, exited.gpu, exited.xid, exited.gpu_fault, exited.gpu_action}));
}

}  // namespace

std::string describe(const WorkerDeath& death) {
  std::string text = "[" + death.pool + "] worker";
  if (death.pid != 0) text += " (pid " + std::to_string(death.pid) + ")";
  text += death.started ? " died while it ran the function: " : " died before the function began: ";
  text += death.cause;
  if (!death.gpus.empty()) {
    text += "\nits GPUs: ";
    for (std::size_t i = 0; i < death.gpus.size(); ++i)
      text += (i == 0 ? "" : ", ") + death.gpus[i];
  }
  if (death.signal == SIGKILL && death.cause.find("memory") == std::string::npos) {
    text +=
        "\nionian did not send this signal, and the kernel's out-of-memory counter did not move: "
        "look "
        "for who did (dmesg, audit log)";
  } else if (death.signal == SIGSEGV || death.signal == SIGBUS || death.signal == SIGABRT) {
    text +=
        "\nnative code crashed; run the function with f.local(...) under a debugger, or set "
        "PYTHONFAULTHANDLER=1";
  }
  if (!death.log_tail.empty()) text += "\nlast output:\n" + death.log_tail;
  return text;
}

std::size_t Executor::capacity(const Pool& pool) {
  if (!pool.options.gpu) return processors_;
  const GpuMatch match = parse_gpu_match(options_.match);
  std::size_t most = 1;
  for (const auto& item : pool.options.gpu->alternatives()) {
    std::map<std::string, std::size_t> by_type;
    for (const auto& device : inventory().devices) {
      if (device.trouble.empty() && item.accepts(device, match)) ++by_type[device.type];
    }
    std::size_t sets = 0;
    for (const auto& [type, count] : by_type) sets += count / static_cast<std::size_t>(item.count);
    most = std::max(most, sets);
  }
  return most;
}

Pool* Executor::create_pool(PoolOptions options) {
  check_process();
  if (options.gpu) {
    inventory();
    const std::lock_guard lock(inventory_mutex_);
    LeaseOwner asker = this_process_as_owner(options_.app, options.name, run_id_);
    asker.callers = options_.callers;
    book_->check(*options.gpu, options_.held_by_ancestors, asker);
  }
  Pool pool(std::move(options));
  pool.limits = {pool.options.min_containers, pool.options.max_containers,
                 pool.options.buffer_containers, capacity(pool)};
  if (pool.options.gpu) {
    for (const auto& item : pool.options.gpu->alternatives())
      pool.request.push_back(item.to_string());
  }
  const Lock lock = enter();
  check_usable();
  const auto broken = broken_launchers_.find(pool.options.launcher);
  if (broken != broken_launchers_.end()) pool.broken = broken->second;
  pools_.push_back(std::move(pool));
  plan(pools_.back());
  return &pools_.back();
}

/// Moves calls that are stuck behind a long one to idle workers. Returns whether some may yet be
/// stuck.
bool Executor::rebalance() {
  bool again = false;
  for (auto& pool : pools_) again |= rebalance(pool);
  return again;
}

bool Executor::rebalance(Pool& pool) {
  if (!pool.queue.empty() || pool.workers.size() < 2) return false;
  const bool somebody_idle =
      std::any_of(pool.workers.begin(), pool.workers.end(), [](const auto* worker) {
        return worker->phase == WorkerRecord::Phase::kReady && worker->in_flight.empty();
      });
  if (!somebody_idle) return false;
  bool again = false;
  for (WorkerRecord* worker : pool.workers) {
    if (worker->in_flight.size() < 2) continue;
    again = true;
    const std::uint64_t started = worker->channel->started_ns();
    if (started == 0 || nanoseconds(channel::now_ns() - started) < kStuckBehind) continue;
    take_back(*worker);
    dispatch(pool);
    return true;
  }
  return again;
}

/// Puts the calls behind the first one back into the queue. Newest first, so that those nearest
/// their turn keep it.
void Executor::take_back(WorkerRecord& worker) {
  while (worker.in_flight.size() > 1) {
    const CallPtr call = worker.in_flight.back();
    const std::exception_ptr lost = keep_payload(worker, *call);
    if (!worker.channel->revoke(call->sequence)) return;
    worker.in_flight.pop_back();
    note_load(worker);
    if (call->state == Call::State::kDone) continue;
    if (lost) {
      fail(call, lost);
      continue;
    }
    call->state = Call::State::kQueued;
    call->worker = nullptr;
    worker.pool->queue.push_front(call);
  }
}

/// Sees to it that the call can be sent to another worker. Returns why it cannot.
std::exception_ptr Executor::keep_payload(const WorkerRecord& worker, Call& call) {
  if (call.owns_payload || call.attended) return nullptr;
  try {
    call.owned = worker.channel->stored(call.sequence);
    call.owns_payload = true;
    return nullptr;
  } catch (const Error& error) {
    return std::make_exception_ptr(ExecutionError(
        "[" + call.pool->options.name + "] the call lay behind another in the memory of worker " +
        std::to_string(worker.ordinal) + " (pid " + std::to_string(worker.pid) +
        "), which wrote over it, so it cannot be sent elsewhere: " + error.what() +
        "\nnext: native code in the function writes out of bounds; run it with f.local(...) under "
        "valgrind or a sanitizer"));
  }
}

void Executor::plan(Pool& pool) {
  if (state_ != State::kOpen || pool.broken || !stopped_.empty()) return;
  PoolLoad load;
  load.queued = pool.queue.size();
  for (const WorkerRecord* worker : pool.workers) {
    if (worker->phase == WorkerRecord::Phase::kStarting) ++load.starting;
    if (worker->phase != WorkerRecord::Phase::kReady) continue;
    ++(worker->in_flight.empty() ? load.idle : load.busy);
    // One that takes no more calls drains no queue, however short they are.
    if (!worker->leaving) load.mean_call_s = pool.mean_call_s;
  }
  const std::size_t wanted = wanted_workers(pool.limits, load);
  const bool start = may_start(pool) && (!pool.given_up || load.queued != 0);
  for (std::size_t have = load.starting + load.idle + load.busy; start && have < wanted; ++have) {
    start_worker(pool, 0);
  }
  if (load.queued != 0) return;
  // Nothing is left for those that still wait for GPUs: leave the queue to others.
  std::size_t surplus = load.starting + load.idle + load.busy;
  surplus -= std::min(surplus, std::max(wanted, pool.limits.min_containers));
  for (WorkerRecord* worker : std::vector<WorkerRecord*>(pool.workers)) {
    if (surplus == 0) break;
    if (worker->phase != WorkerRecord::Phase::kStarting || worker->leased) continue;
    message::send(guardian_, message::ReleaseWorker{worker->id});
    std::erase(pool.workers, worker);
    workers_.erase(worker->id);
    --surplus;
  }
}

void Executor::start_worker(Pool& pool, std::uint32_t inherit) {
  auto record = std::make_unique<WorkerRecord>();
  WorkerRecord& worker = *record;
  std::set<std::uint32_t> ordinals;
  for (const WorkerRecord* other : pool.workers) ordinals.insert(other->ordinal);
  worker.ordinal = 1;
  while (ordinals.count(worker.ordinal) != 0) ++worker.ordinal;
  worker.id = next_worker_++;
  worker.pool = &pool;
  worker.leased = pool.request.empty() || inherit != 0;
  if (worker.leased) worker.starting_since = sys::Clock::now();
  try {
    if (!guardian_) start_guardian();
    worker.channel = std::make_unique<CallerChannel>();
    worker.channel->send(0, RequestKind::kSetup,
                         {std::as_bytes(std::span(pool.options.setup)), {}});
    message::send(guardian_,
                  message::StartWorker{worker.id, pool.options.launcher, inherit, pool.request,
                                       pool.options.name},
                  {worker.channel->memory_fd(), doorbell_.fd(), worker.channel->worker_socket()});
    worker.channel->handed_over();
  } catch (const Error&) {
    // No descriptors or no memory for one more worker: those that there are carry on.
    if (pool.workers.empty()) fail_queue(pool, std::current_exception());
    return;
  }
  pool.workers.push_back(&worker);
  workers_[worker.id] = std::move(record);
  if (pool.options.startup_timeout.count() > 0)
    look_again_by(sys::Clock::now() + pool.options.startup_timeout);
}

void Executor::stop_worker(WorkerRecord& worker, milliseconds grace, bool terminate) {
  if (worker.phase == WorkerRecord::Phase::kStopping) return;
  worker.phase = WorkerRecord::Phase::kStopping;
  message::send(guardian_, message::StopWorker{worker.id, static_cast<std::uint32_t>(grace.count()),
                                               terminate});
}

void Executor::retire(WorkerRecord& worker) {
  if (worker.channel->full()) return stop_worker(worker, kGrace, true);
  worker.channel->send(0, RequestKind::kShutdown, {});
  stop_worker(worker, kGrace, false);
}

void Executor::worker_dead(WorkerRecord& worker, const message::Exited& exited) {
  Pool& pool = *worker.pool;
  pump_worker(worker);  // what it answered before its end counts
  const bool expected = worker.phase == WorkerRecord::Phase::kStopping;
  const bool was_starting = worker.phase == WorkerRecord::Phase::kStarting;
  worker.phase = WorkerRecord::Phase::kDead;
  pool.unleased_since = sys::Clock::now();
  std::erase(pool.workers, &worker);
  for (const int stream : {0, 1}) {
    const std::string rest = worker.lines[stream].finish();
    if (rest.empty()) continue;
    emit({stream == 0 ? ExecutorEvent::Kind::kStdout : ExecutorEvent::Kind::kStderr, worker.ordinal,
          pool.options.name, rest});
  }
  WorkerDeath death;
  death.pool = pool.options.name;
  death.pid = worker.pid;
  death.log_tail = worker.log_tail;
  for (std::size_t i = 0; i < worker.uuids.size(); ++i) {
    death.gpus.push_back(worker.types[i] + " " + worker.uuids[i]);
  }
  if (exited.code == CLD_EXITED) {
    death.exit_code = static_cast<int>(exited.status);
    death.cause = "it left with exit code " + std::to_string(death.exit_code);
  } else if (exited.code == CLD_KILLED || exited.code == CLD_DUMPED) {
    death.signal = static_cast<int>(exited.status);
    death.cause = "killed by " + signal_name(death.signal);
    if (exited.out_of_memory) death.cause += "; the kernel ran out of memory";
  } else {
    death.cause = exited.cause.empty() ? "it is gone" : exited.cause;
  }
  lose_calls(worker, death, exited);
  if (was_starting && !expected) start_failed(pool, death, false);
  const std::size_t before = pool.workers.size();
  const bool holds_gpus = !worker.uuids.empty() && !expected;
  if (holds_gpus && !pool.queue.empty() && !pool.broken && may_start(pool) &&
      state_ == State::kOpen && stopped_.empty()) {
    start_worker(pool, worker.id);
  }
  if (holds_gpus && pool.workers.size() == before) {
    message::send(guardian_, message::ReleaseWorker{worker.id});
  }
  workers_.erase(worker.id);
  dispatch(pool);
  if (pool.broken && pool.workers.empty()) fail_queue(pool, pool.broken);
  plan(pool);
}

void Executor::lose_calls(WorkerRecord& worker, const WorkerDeath& death,
                          const message::Exited& exited) {
  Pool& pool = *worker.pool;
  while (!worker.in_flight.empty()) {
    const CallPtr call = worker.in_flight.back();
    worker.in_flight.pop_back();
    note_load(worker);
    if (call->state == Call::State::kDone) continue;
    const Claim claim = worker.channel->claim(call->sequence);
    const bool started = claim == Claim::kStarted;
    // A call that lay behind another has no part in the death.
    const bool next = claim == Claim::kTaken || worker.in_flight.empty();
    if (!started && (!next || ++call->lost_starts < kMaxLostStarts) && state_ == State::kOpen &&
        stopped_.empty()) {
      if (const auto lost = keep_payload(worker, *call)) {
        fail(call, lost);
        continue;
      }
      call->state = Call::State::kQueued;
      call->worker = nullptr;
      call->queued_at = sys::Clock::now();
      pool.queue.push_front(call);
      continue;
    }
    const CallFailure why = call->timed_out ? CallFailure::kTimedOut
                            : started       ? CallFailure::kWorkerDied
                                            : CallFailure::kNotStarted;
    if (try_again(call, why)) continue;
    const std::string attempts = call->attempts < 2 ? ""
                                                    : "\nall " + std::to_string(call->attempts) +
                                                          " attempts of the call have failed";
    if (!exited.gpu.empty()) {
      fail(call, gpu_unhealthy(pool.options.name, exited, attempts));
      continue;
    }
    WorkerDeath mine = death;
    mine.started = started;
    const std::string text = describe(mine) + attempts;
    fail(call, exited.out_of_memory
                   ? std::make_exception_ptr(WorkerOutOfMemoryError(text, std::move(mine)))
                   : std::make_exception_ptr(WorkerDiedError(text, std::move(mine))));
  }
}

/// Returns whether somebody can run the pool's calls, or will soon.
bool Executor::has_others(const Pool& pool) {
  return std::any_of(pool.workers.begin(), pool.workers.end(), [](const WorkerRecord* worker) {
    return worker->phase == WorkerRecord::Phase::kReady ||
           (worker->phase == WorkerRecord::Phase::kStarting && worker->leased);
  });
}

/// Returns whether one more worker may be started: not of a pool that was given up, as long as
/// others can run its calls.
bool Executor::may_start(const Pool& pool) { return !pool.given_up || !has_others(pool); }

/// Starts no more workers but for calls that nobody can run; after a while, or once one is ready,
/// the pool is filled again.
void Executor::give_up(Pool& pool, bool for_good) {
  pool.failed_starts = 0;
  pool.given_up = true;
  pool.refill_at = sys::TimePoint::max();
  if (for_good) return;
  pool.refill_pause = std::clamp(pool.refill_pause * 2, kFirstRefill, kLastRefill);
  pool.refill_at = sys::Clock::now() + pool.refill_pause;
  look_again_by(pool.refill_at);
}

void Executor::refill(Pool& pool, sys::TimePoint now) {
  if (pool.refill_at > now) return;
  pool.refill_at = sys::TimePoint::max();
  if (std::exchange(pool.given_up, false)) plan(pool);
}

/// `for_good`: the next start would fail the same way.
void Executor::start_failed(Pool& pool, WorkerDeath death, bool for_good) {
  if (pool.broken) return;
  if (++pool.failed_starts < kMaxFailedStarts && !for_good) return;
  give_up(pool, for_good);
  if (!for_good && has_others(pool)) return;  // want of processes, say: they go on with the queue
  death.pool = pool.options.name;
  const std::string text =
      describe(death) + (for_good ? "" : "\nthree workers in a row ended before they were ready");
  if (pool.queue.empty()) emit({ExecutorEvent::Kind::kWarning, 0, pool.options.name, text});
  fail_queue(pool, for_good ? std::make_exception_ptr(WorkerStartError(text, std::move(death)))
                            : std::make_exception_ptr(CrashLoopError(text, std::move(death))));
}

}  // namespace ionian
