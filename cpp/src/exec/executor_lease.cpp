// Calls that wait for GPUs for too long, and runs that somebody stopped.
#include <algorithm>

#include "exec/executor.hpp"

namespace ionian {

sys::TimePoint Executor::time_out_leases(Pool& pool) {
  const auto timeout = pool.options.lease_timeout;
  if (timeout.count() == 0 || pool.request.empty() || pool.queue.empty())
    return sys::TimePoint::max();
  // With a worker that has its GPUs, calls wait for that worker, not for a lease.
  if (std::any_of(pool.workers.begin(), pool.workers.end(),
                  [](const WorkerRecord* worker) { return worker->leased; })) {
    return sys::TimePoint::max();
  }
  const auto now = sys::Clock::now();
  auto next = sys::TimePoint::max();
  std::deque<CallPtr> late;
  std::erase_if(pool.queue, [&](const CallPtr& call) {
    const auto until = std::max(call->queued_at, pool.unleased_since) +
                       std::chrono::duration_cast<sys::Clock::duration>(timeout);
    if (until > now) {
      next = std::min(next, until);
      return false;
    }
    late.push_back(call);
    return true;
  });
  if (late.empty()) return next;
  const double seconds = std::chrono::duration<double>(timeout).count();
  const std::string digits = std::to_string(seconds);
  const auto why = std::make_exception_ptr(LeaseTimeoutError(
      "[" + pool.options.name + "] no GPUs were granted within its lease_timeout of " +
      digits.substr(0, digits.find('.') + 3) + " s\n" +
      (pool.waiting.empty() ? "waiting for " + pool.options.gpu->to_string() : pool.waiting)));
  for (const auto& call : late) fail(call, why);
  plan(pool);  // leaves the queue of the machine if nobody is left
  doorbell_.ring();
  return next;
}

void Executor::on_stopped(const message::Stopped& stopped) {
  stopped_ = stopped.text;
  const auto fail_all = [&](Pool& pool) {
    const auto why = std::make_exception_ptr(RemoteError(
        "[" + pool.options.name + "] the run was stopped " + stopped_ + " before the call ended"));
    fail_queue(pool, why);
    for (const auto& [id, worker] : workers_) {
      if (worker->pool != &pool) continue;
      for (const auto& call : std::deque<CallPtr>(worker->in_flight)) fail(call, why);
    }
  };
  for (auto& pool : pools_) fail_all(pool);
  while (!delayed_.empty()) {
    const CallPtr call = delayed_.extract(delayed_.begin()).mapped();
    fail(call, std::make_exception_ptr(RemoteError("[" + call->pool->options.name +
                                                   "] the run was stopped " + stopped_ +
                                                   " before its next attempt")));
  }
  emit({ExecutorEvent::Kind::kWarning, 0, "", "the run was stopped " + stopped_});
}

}  // namespace ionian
