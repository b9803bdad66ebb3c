// call.hpp: one input on its way to a worker and back, and what can be waited for.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/syscall.hpp"
#include "exec/channel.hpp"
#include "ionian/fd.hpp"

namespace ionian {

class Pool;
class Executor;
struct WorkerRecord;

/// Something that becomes ready. Guarded by the executor's mutex.
struct Waitable {
  virtual ~Waitable() = default;
  [[nodiscard]] virtual bool ready() const = 0;
  void notify() {
    for (auto* waiter : waiters) waiter->notify_one();
  }
  std::vector<std::condition_variable*> waiters;  // of threads that wait without leading
};

class CallGroup;

/// Fields are guarded by the executor's mutex until `ready()`, immutable afterwards.
class Call : public Waitable {
 public:
  enum class State { kQueued, kSent, kDelayed, kDone };  // kDelayed: until its next attempt

  [[nodiscard]] bool ready() const override { return state == State::kDone; }

  std::uint64_t id = 0;
  std::uint64_t tag = 0;  // the caller's own
  Pool* pool = nullptr;
  std::shared_ptr<CallGroup> group;
  State state = State::kQueued;
  Payload borrowed;    // valid while the caller waits; else empty
  OwnedPayload owned;  // otherwise
  bool owns_payload = false;
  bool attended = false;  // its caller waits for it
  WorkerRecord* worker = nullptr;
  std::uint32_t sequence = 0;  // in the worker's ring
  sys::TimePoint queued_at{};  // where its function has a lease_timeout
  int lost_starts = 0;         // workers that died before its body was entered
  std::uint32_t attempts = 0;  // that failed in the body; counted where the pool retries
  bool timed_out = false;     // the attempt that is under way; it ends with its reply or its worker
  sys::TimePoint retry_at{};  // while it is delayed
  std::optional<Received> reply;
  std::exception_ptr failure;
  std::map<int, UniqueFd> watchers;  // eventfds written when it is done; see Executor::watch
};
using CallPtr = std::shared_ptr<Call>;

/// Calls whose completions are taken one by one, in the order in which they end.
class CallGroup : public Waitable {
 public:
  /// `fd` is an eventfd to write at each completion, -1 for none; duplicated, so close yours
  /// freely.
  explicit CallGroup(int fd = -1);
  [[nodiscard]] bool ready() const override { return !done.empty(); }

  std::deque<CallPtr> done;
  std::size_t pending = 0;     // submitted and not yet taken from `done`
  const UniqueFd completions;  // the eventfd, if one was given
};

}  // namespace ionian
