// guardian.hpp: the small process that outlives the caller just long enough to clean up after it.
//
// It holds the locks of the leased GPUs, starts launchers, has workers forked or started, drains
// their output so that no line dies with its writer, and sees every exit: it is the subreaper of
// all of them. When the caller's socket ends, in whatever way, it kills everything, waits until the
// driver shows the GPUs empty, and lets the locks go. One thread, one poll loop, no decision of its
// own: which GPUs is the lease book's business, how many workers the caller's.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/syscall.hpp"
#include "exec/message.hpp"
#include "exec/mps.hpp"
#include "gpu/xid_policy.hpp"
#include "gpu/xid_watch.hpp"
#include "ionian/error.hpp"
#include "ionian/lease.hpp"

namespace ionian {

class Guardian {
 public:
  /// `caller` is the socket to the process that started us.
  explicit Guardian(UniqueFd caller);
  ~Guardian();
  Guardian(const Guardian&) = delete;
  Guardian& operator=(const Guardian&) = delete;

  /// Serves until the caller is gone or asks to end. Everything is gone when it returns.
  void run();

 private:
  struct LauncherState {
    message::StartLauncher order;
    std::vector<std::string> env;
    pid_t pid = 0;
    FrameSocket socket;
    UniqueFd out;
    UniqueFd err;
    bool ready = false;
    bool forkable = true;
    bool failed = false;
  };

  struct WorkerState {
    enum class Phase { kQueued, kDraining, kLaunching, kRunning, kEnded };
    message::StartWorker order;
    Phase phase = Phase::kQueued;
    std::optional<LeaseWaiter> waiter;
    Lease lease;
    sys::TimePoint retry_at{};
    sys::TimePoint drain_until{};
    sys::TimePoint explained_at{};
    std::vector<UniqueFd> fds;  // channel memory, doorbell, channel socket; until it is started
    UniqueFd out;
    UniqueFd err;
    pid_t pid = 0;
    UniqueFd pidfd;
    bool ours = false;     // started by us, not forked by a launcher
    bool release = false;  // the lease goes with the process
    std::optional<sys::TimePoint> kill_at;
    std::optional<sys::TimePoint> give_up_at;  // SIGKILL was sent: from then on it counts as dead
    std::optional<XidWatch> watch;             // of the real GPUs of its lease
    std::optional<GpuFault> fault;             // that ended it
    std::chrono::milliseconds drain_pause{0};
    bool draining = false;  // its lock files say so
  };
  using Workers = std::map<std::uint32_t, WorkerState>;

  // guardian.cpp: the loop and the caller's wishes
  void handle(Frame frame);
  void hello(const message::Hello& hello);
  void poll_once();
  [[nodiscard]] int poll_timeout() const;
  void run_timers();
  void reap();
  void end_within(std::chrono::milliseconds grace);
  void stopped_by(std::int64_t pid, std::chrono::milliseconds grace);
  void shut_down();
  [[nodiscard]] bool idle() const;

  // guardian_lease.cpp: GPUs
  LeaseBook& book();
  void request_lease(WorkerState& worker);
  void try_lease(WorkerState& worker);
  void lease_failed(WorkerState& worker, const Error& error);
  void lease_changed();
  void tell_wanted();
  void give_back(WorkerState& worker);
  [[nodiscard]] bool drained(WorkerState& worker);
  void explain(WorkerState& worker);
  /// Returns whether a worker other than `but` holds slices of a real GPU.
  [[nodiscard]] bool slices_held(const WorkerState* but) const;
  std::vector<std::string> mps_env(const WorkerState& worker);

  // guardian_status.cpp: what others may see
  void write_status();

  // guardian_health.cpp: GPUs that are not well
  void watch_gpus(WorkerState& worker);
  void serve_gpu_events(std::uint32_t id);
  void on_gpu_event(WorkerState& worker, const GpuEvent& event);
  [[nodiscard]] bool quarantined(const WorkerState& worker) const;
  /// Quarantines a GPU that is ill or did not drain within the limit. Returns whether to go on
  /// waiting for it.
  bool drain(WorkerState& worker, const Device& device);
  void quarantine(const WorkerState& worker, Quarantine found, std::uint64_t memory_bytes);
  void say_draining(WorkerState& worker, const Device& device, const std::string& left);

  // guardian_launch.cpp: processes
  void start_launcher(message::StartLauncher order);
  void serve_launcher(std::uint32_t id);
  bool hear_launcher(std::uint32_t id);
  void launcher_gone(std::uint32_t id);
  void start_worker(message::StartWorker order, std::vector<UniqueFd> fds);
  void launch(WorkerState& worker);
  void start_afresh(WorkerState& worker, LauncherState& launcher,
                    const std::vector<std::string>& additions);
  [[nodiscard]] std::string callers_in(const WorkerState& worker) const;
  [[nodiscard]] std::vector<std::string> worker_env(const WorkerState& worker);
  void forked(std::uint32_t id, pid_t pid);
  void stop_worker(const message::StopWorker& stop);
  void release_worker(std::uint32_t id);
  void worker_ended(message::Exited exited);
  void kill_worker(WorkerState& worker, int signal);
  static bool reach(const WorkerState& worker, int signal);
  bool forward_output(std::uint32_t worker, std::uint32_t stream, UniqueFd& fd);
  void drain_output(std::uint32_t id, WorkerState& worker);

  FrameSocket caller_;
  UniqueFd caller_pidfd_;
  bool caller_gone_ = false;
  std::optional<sys::TimePoint> shutdown_at_;  // the caller asked to end; SIGKILL then
  UniqueFd signals_;
  UniqueFd death_read_;
  UniqueFd death_write_;  // closed by our end, however it comes
  message::Hello hello_;
  std::unique_ptr<LeaseBook> book_;
  std::unique_ptr<Mps> mps_;  // while slices of a real GPU are held
  bool orphans_ended_ = false;
  bool mps_tried_ = false;
  bool mps_doubtful_ = false;  // a client of it died
  bool told_wanted_ = false;   // the caller knows of requests that lack GPUs of ours
  sys::TimePoint look_at_ = sys::TimePoint::max();  // for such requests
  std::chrono::milliseconds look_pause_{1};
  std::map<std::uint32_t, LauncherState> launchers_;
  Workers workers_;
  std::optional<std::uint64_t> oom_kills_;
  XidOverrides xid_overrides_;
  UniqueFd status_;
  bool status_changed_ = true;
};

}  // namespace ionian
