// executor.hpp: calls in, workers out: the caller's side of one run.
//
// A thread that waits for a call does the executor's work itself: it takes replies from the rings,
// hands the next calls to the workers, and only then sleeps, on the one doorbell that all workers
// ring. One waiting thread leads and sleeps there; the others sleep until their call is done or the
// leader leaves. Two threads of our own fill the gaps: `control` speaks with the guardian and keeps
// time, `pump` leads while calls are under way that nobody waits for.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "exec/call.hpp"
#include "exec/line_buffer.hpp"
#include "exec/message.hpp"
#include "exec/pool_policy.hpp"
#include "exec/retry_policy.hpp"
#include "ionian/error.hpp"
#include "ionian/lease.hpp"

namespace ionian {

struct ExecutorOptions {
  std::string guardian;                 // path of the guardian program
  std::string app;                      // for people
  std::optional<std::string> simulate;  // nullopt: what IONIAN_GPUS says
  std::string match = "upgrade";
  std::string lock_dir;
  std::vector<std::string> held_by_ancestors;  // GPUs of the call that this run is nested in
  std::vector<std::string> callers = {};       // the calls that it is nested in, as in LeaseOwner
};

struct LauncherOptions {
  std::vector<std::string> argv;
  std::vector<std::string> env;
  std::string cwd;
  std::string setup;  // goes to the program as it is
};

struct PoolOptions {
  std::uint32_t launcher = 0;
  std::string name;
  std::optional<GpuRequest> gpu;
  std::string setup;  // goes to each worker before its first call
  std::size_t min_containers = 0;
  std::size_t max_containers = 0;
  std::size_t buffer_containers = 0;
  std::chrono::nanoseconds scaledown_window = std::chrono::seconds(60);
  std::chrono::nanoseconds timeout{0};          // of one attempt's body; 0: none
  std::chrono::nanoseconds startup_timeout{0};  // from its GPUs to ready; 0: none
  std::chrono::nanoseconds lease_timeout{0};    // of one call's wait for GPUs; 0: none
  // For a body that was told to end, because it was cancelled or ran out of time.
  std::chrono::nanoseconds grace = std::chrono::seconds(5);
  RetryPolicy retries;
  bool single_use = false;  // a fresh worker for each call
};

/// What a person should see.
struct ExecutorEvent {
  enum class Kind { kStdout, kStderr, kNotice, kWarning };
  Kind kind = Kind::kNotice;
  std::uint32_t worker = 0;  // 1, 2, … within its pool; 0 if none
  std::string pool;
  std::string text;
};

inline constexpr int kMaxFailedStarts = 3;  // in a row

/// A worker as the caller sees it. Guarded by the executor's mutex.
struct WorkerRecord {
  enum class Phase { kStarting, kReady, kStopping, kDead };
  std::uint32_t id = 0;
  std::uint32_t ordinal = 0;  // 1, 2, … within its pool
  Pool* pool = nullptr;
  Phase phase = Phase::kStarting;
  bool leased = false;  // holds GPUs, or needs none
  std::unique_ptr<CallerChannel> channel;
  std::deque<CallPtr> in_flight;      // in ring order; after each change: Executor::note_load
  bool busy = false;                  // counted in busy_workers_
  std::chrono::nanoseconds spin{-1};  // as the channel was told
  std::vector<std::string> uuids;
  std::vector<std::string> types;
  std::int64_t pid = 0;
  sys::TimePoint idle_since{};
  std::optional<sys::TimePoint> starting_since;  // from when its start is timed
  bool leaving = false;                   // takes no more calls; retires once it has answered
  std::optional<sys::TimePoint> kill_at;  // the body that runs was told to end: not later than this
  LineBuffer lines[2];                    // NOLINT: stdout and stderr
  std::string log_tail;
};

/// One function's workers and the calls that wait for them. Guarded by the executor's mutex.
class Pool {
 public:
  explicit Pool(PoolOptions options_) : options(std::move(options_)) {}
  const PoolOptions options;
  PoolLimits limits;
  std::vector<std::string> request;  // canonical alternatives; empty without GPUs
  std::deque<CallPtr> queue;
  std::vector<WorkerRecord*> workers;  // those that are not dead
  double mean_call_s = 0;
  int failed_starts = 0;  // in a row
  bool given_up = false;  // they were too many: only calls that nobody can run start workers
  std::chrono::milliseconds refill_pause{0};         // how long it was given up for last
  sys::TimePoint refill_at = sys::TimePoint::max();  // when it is no longer given up
  std::string waiting;  // why its first worker is not granted GPUs, "" if it is not waiting
  std::optional<sys::TimePoint> tell_waiting_at;
  sys::TimePoint unleased_since{};  // when its last lease went
  std::exception_ptr broken;        // its launcher failed: every call gets this
};

/// In a child forked from the process that made it, every function throws ExecutionError at once;
/// but `close` does nothing, and `next_event` says that there are no more.
class Executor {
 public:
  /// Starts the guardian and the two threads. Throws if the guardian cannot be started.
  explicit Executor(ExecutorOptions options);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  [[nodiscard]] const std::string& run_id() const noexcept { return run_id_; }
  /// Returns the GPUs of this machine; read from the driver at the first call. Thread-safe.
  const Inventory& inventory();
  std::uint32_t start_launcher(LauncherOptions options);
  /// Throws UnsatisfiableError, LeaseDeadlockError. The pool lives as long as the executor.
  Pool* create_pool(PoolOptions options);

  /// Hands in a call. With `borrow`, the payload's memory must stay valid until the call is done
  /// and its caller waits for it; otherwise it is copied before this returns. Thread-safe.
  CallPtr submit(Pool* pool, const Payload& payload, std::shared_ptr<CallGroup> group = nullptr,
                 std::uint64_t tag = 0, bool borrow = false);
  /// Waits until `target` is ready or `deadline` has come. Returns whether it is ready.
  /// Thread-safe.
  bool wait(const Waitable& target, sys::TimePoint deadline);
  /// Returns a call of the group that is done, nullptr if none is. Takes up to `limit` into `more`.
  std::vector<CallPtr> take(CallGroup& group, std::size_t limit);
  /// Has an eventfd written when the call is done, at once if it is. The descriptor is duplicated.
  void watch(const CallPtr& call, int fd);
  /// Takes that back; `fd` as it was given.
  void unwatch(const CallPtr& call, int fd);
  /// Ends calls: each fails with RemoteError at once, also between two attempts; one that is done
  /// stays as it is. A body that runs is interrupted and has the pool's grace to end, or with
  /// `terminate` its worker is killed. None of the others begins meanwhile.
  void cancel(std::span<const CallPtr> calls, bool terminate);
  void cancel(const CallPtr& call, bool terminate) { cancel({&call, 1}, terminate); }

  [[nodiscard]] std::size_t workers(const Pool* pool);
  [[nodiscard]] std::size_t queued(const Pool* pool);
  /// Waits for an event; nullopt once the executor is closed and all have been taken, or at
  /// `deadline` (`closed` tells which).
  std::optional<ExecutorEvent> next_event(sys::TimePoint deadline, bool& closed);

  /// Kills every worker now; calls in flight fail.
  void stop();
  /// Ends the run: idle workers at once, busy ones by SIGTERM and after `grace` by SIGKILL.
  /// Idempotent.
  void close(std::chrono::milliseconds grace);

 private:
  using Lock = std::unique_lock<std::mutex>;
  enum class State { kOpen, kClosing, kClosed };

  // executor.cpp
  [[nodiscard]] bool forked() const noexcept;
  void check_process() const;
  Lock enter();
  void check_usable() const;
  void complete(const CallPtr& call);
  void fail(const CallPtr& call, std::exception_ptr why);
  void fail_queue(Pool& pool, const std::exception_ptr& why);
  bool pump();
  bool pump_worker(WorkerRecord& worker);
  void on_reply(WorkerRecord& worker, Received reply);
  void dispatch(Pool& pool);
  WorkerRecord* choose_worker(Pool& pool);
  void send_call(WorkerRecord& worker, const CallPtr& call);
  void cancel_one(const CallPtr& call, bool terminate);
  [[nodiscard]] std::chrono::nanoseconds spin_time() const;
  void lead(Lock& lock, const Waitable& target, sys::TimePoint deadline);
  void pump_loop();

  // executor_pool.cpp
  bool rebalance(Pool& pool);
  bool rebalance();
  void take_back(WorkerRecord& worker);
  [[nodiscard]] static std::exception_ptr keep_payload(const WorkerRecord& worker, Call& call);
  void plan(Pool& pool);
  void start_worker(Pool& pool, std::uint32_t inherit);
  void retire(WorkerRecord& worker);
  void stop_worker(WorkerRecord& worker, std::chrono::milliseconds grace, bool terminate);
  void worker_dead(WorkerRecord& worker, const message::Exited& exited);
  void lose_calls(WorkerRecord& worker, const WorkerDeath& death, const message::Exited& exited);
  void start_failed(Pool& pool, WorkerDeath death, bool for_good);
  [[nodiscard]] static bool has_others(const Pool& pool);
  [[nodiscard]] static bool may_start(const Pool& pool);
  void give_up(Pool& pool, bool for_good);
  void refill(Pool& pool, sys::TimePoint now);
  void give_back_wanted();
  void note_load(WorkerRecord& worker);
  [[nodiscard]] std::size_t capacity(const Pool& pool);

  // executor_lease.cpp
  sys::TimePoint time_out_leases(Pool& pool);
  void on_stopped(const message::Stopped& stopped);

  // executor_control.cpp
  void start_guardian();
  void control_loop();
  void handle(const Frame& frame);
  void on_output(const message::Output& output);
  void on_wanted(message::Wanted wanted);
  void on_launcher_failed(const message::LauncherFailed& failed);
  void guardian_gone();
  void wake_control();
  void emit(ExecutorEvent event);
  [[nodiscard]] WorkerRecord* find(std::uint32_t worker);

  // executor_time.cpp
  sys::TimePoint run_timers();
  sys::TimePoint look_at(WorkerRecord& worker, std::size_t& live, sys::TimePoint now);
  sys::TimePoint time_start(WorkerRecord& worker, sys::TimePoint now);
  sys::TimePoint time_body(WorkerRecord& worker, sys::TimePoint now);
  void tell_waiting(Pool& pool, sys::TimePoint now);
  bool still_runs(WorkerRecord& worker, const CallPtr& call);
  void interrupt(WorkerRecord& worker, const CallPtr& call);
  bool try_again(const CallPtr& call, CallFailure why);
  void next_attempts(sys::TimePoint now);
  void look_again_by(sys::TimePoint when);

  const ExecutorOptions options_;
  const std::string run_id_;
  const std::uint64_t fork_generation_;

  std::mutex mutex_;
  State state_ = State::kOpen;
  std::string stopped_;  // who ended the run from outside, "" if nobody did
  FrameSocket guardian_;
  pid_t guardian_pid_ = 0;
  int guardians_ = 0;                // started so far
  UniqueFd closed_;                  // readable once the guardian is gone
  std::vector<LeaseDemand> wanted_;  // what others wait for
  LineBuffer launcher_lines_[2];     // NOLINT: stdout and stderr
  UniqueFd wake_control_;
  sys::TimePoint control_until_{};  // when the control thread looks again by itself
  Doorbell doorbell_;
  std::map<std::uint32_t, LauncherOptions> launchers_;
  std::map<std::uint32_t, std::exception_ptr> broken_launchers_;
  std::deque<Pool> pools_;
  std::map<std::uint32_t, std::unique_ptr<WorkerRecord>> workers_;
  std::multimap<sys::TimePoint, CallPtr> delayed_;  // calls between two attempts
  std::uint32_t next_worker_ = 1;
  std::uint32_t next_launcher_ = 1;
  std::uint64_t next_call_ = 1;

  std::mutex inventory_mutex_;
  std::unique_ptr<LeaseBook> book_;  // to check requests; leases are the guardian's

  bool leading_ = false;
  std::deque<std::condition_variable*> followers_;
  std::size_t unattended_ = 0;  // calls under way that nobody waits for
  std::condition_variable pump_wanted_;
  unsigned processors_ = 1;
  unsigned busy_workers_ = 0;
  int spins_in_vain_ = 0;

  std::mutex events_mutex_;
  std::condition_variable events_changed_;
  std::deque<ExecutorEvent> events_;
  std::size_t events_bytes_ = 0;
  std::size_t events_dropped_ = 0;
  bool events_closed_ = false;

  std::thread control_;
  std::thread pump_;
};

/// Describes a death in one paragraph whose first line is short.
std::string describe(const WorkerDeath& death);

}  // namespace ionian
