#include "exec/guardian.hpp"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <functional>

#include "base/fault.hpp"
#include "exec/process.hpp"
#include "ionian/error.hpp"

namespace ionian {
namespace {

using std::chrono::milliseconds;

/// Output waits in its pipe while this much is unsent, and the writer waits with it: memory stays
/// flat.
constexpr std::size_t kMaxUnsent = std::size_t{1} << 20;
/// How long workers have to end when somebody stops the run.
constexpr milliseconds kStopGrace{5000};
/// How long the caller has to read what is left to tell.
constexpr milliseconds kLastWords{5000};

}  // namespace

Guardian::Guardian(UniqueFd caller) : caller_(std::move(caller)), oom_kills_(process::oom_kills()) {
  // Orphans of the run come to us instead of init, so they can be found and reaped.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  ::prctl(PR_SET_NAME, "ionian-guardian");
  sigset_t set;
  ::sigfillset(&set);  // only SIGKILL ends us early; SIGTERM and SIGHUP are an orderly end
  ::sigprocmask(SIG_SETMASK, &set, nullptr);
  ::sigemptyset(&set);
  for (const int signal : {SIGCHLD, SIGTERM, SIGHUP, SIGINT}) ::sigaddset(&set, signal);
  signals_ = UniqueFd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) throw_errno("create a signalfd", errno);
  std::tie(death_read_, death_write_) = sys::pipe();
  FAULT("guardian.made");
}

Guardian::~Guardian() = default;

void Guardian::run() {
  while (!caller_gone_ && !(shutdown_at_ && idle())) poll_once();
  shut_down();
}

bool Guardian::idle() const {
  return std::none_of(workers_.begin(), workers_.end(), [](const auto& entry) {
    return entry.second.phase == WorkerState::Phase::kRunning;
  });
}

int Guardian::poll_timeout() const {
  auto next = look_at_;
  const auto now = sys::Clock::now();
  for (const auto& [id, worker] : workers_) {
    if (worker.phase == WorkerState::Phase::kQueued ||
        worker.phase == WorkerState::Phase::kDraining ||
        (worker.release && worker.lease && worker.phase == WorkerState::Phase::kEnded)) {
      next = std::min(next, worker.retry_at);
    }
    if (worker.kill_at) next = std::min(next, *worker.kill_at);
    if (worker.give_up_at) next = std::min(next, *worker.give_up_at);
  }
  if (shutdown_at_) next = std::min(next, *shutdown_at_);
  if (next == sys::TimePoint::max()) return -1;
  if (next <= now) return 0;
  return static_cast<int>(std::chrono::ceil<milliseconds>(next - now).count());
}

void Guardian::poll_once() {
  std::vector<pollfd> polled;
  std::vector<std::function<void(short)>> handlers;
  const auto watch = [&](int fd, short events, std::function<void(short)> handler) {
    if (fd < 0) return;
    polled.push_back({fd, events, 0});
    handlers.push_back(std::move(handler));
  };
  const short write_too = caller_.unsent() != 0 ? POLLOUT : 0;
  watch(caller_.fd(), static_cast<short>(POLLIN | write_too), [this](short events) {
    if ((events & POLLOUT) != 0) caller_.flush();
    if ((events & (POLLIN | POLLHUP | POLLERR)) == 0) return;
    caller_gone_ = !caller_.receive();
    while (auto frame = caller_.next()) handle(std::move(*frame));
  });
  // A child that the caller forked can hold the caller's socket open: its own end is what counts.
  watch(caller_pidfd_.get(), POLLIN, [this](short) { caller_gone_ = true; });
  watch(signals_.get(), POLLIN, [this](short) {
    signalfd_siginfo info{};
    while (::read(signals_.get(), &info, sizeof(info)) > 0) {
      if (info.ssi_signo == SIGTERM) stopped_by(info.ssi_pid, kStopGrace);
      if (info.ssi_signo == SIGHUP || info.ssi_signo == SIGINT)
        stopped_by(info.ssi_pid, milliseconds(0));
    }
    reap();
  });
  for (auto& [id, worker] : workers_) {
    const std::uint32_t key = id;
    if (worker.watch)
      watch(worker.watch->fd(), POLLIN, [this, key](short) { serve_gpu_events(key); });
  }
  if (book_) watch(book_->changes(), POLLIN, [this](short) { lease_changed(); });
  for (auto& [id, launcher] : launchers_) {
    const std::uint32_t key = id;
    const short events = static_cast<short>(POLLIN | (launcher.socket.unsent() != 0 ? POLLOUT : 0));
    watch(launcher.socket.fd(), events, [this, key](short) { serve_launcher(key); });
  }
  if (caller_.unsent() < kMaxUnsent) {
    for (auto& [id, launcher] : launchers_) {
      LauncherState& state = launcher;
      watch(state.out.get(), POLLIN, [&](short) { forward_output(0, 1, state.out); });
      watch(state.err.get(), POLLIN, [&](short) { forward_output(0, 2, state.err); });
    }
    for (auto& [id, worker] : workers_) {
      const std::uint32_t key = id;
      for (const std::uint32_t stream : {1U, 2U}) {
        watch((stream == 1 ? worker.out : worker.err).get(), POLLIN, [this, key, stream](short) {
          const auto found = workers_.find(key);
          if (found == workers_.end()) return;
          forward_output(key, stream, stream == 1 ? found->second.out : found->second.err);
        });
      }
    }
  }
  const int ready = ::poll(polled.data(), polled.size(), poll_timeout());
  if (ready < 0 && errno != EINTR) throw_errno("wait for events", errno);
  for (std::size_t i = 0; ready > 0 && i < polled.size(); ++i) {
    if (polled[i].revents != 0) handlers[i](polled[i].revents);
  }
  run_timers();
  if (status_changed_) write_status();
}

void Guardian::handle(Frame frame) {
  using message::parse;
  using message::Type;
  status_changed_ = true;
  switch (static_cast<Type>(frame.type)) {
    case Type::kHello:
      return hello(parse<message::Hello>(frame));
    case Type::kStartLauncher:
      return start_launcher(parse<message::StartLauncher>(frame));
    case Type::kStartWorker:
      return start_worker(parse<message::StartWorker>(frame), std::move(frame.fds));
    case Type::kStopWorker:
      return stop_worker(parse<message::StopWorker>(frame));
    case Type::kReleaseWorker:
      return release_worker(parse<message::ReleaseWorker>(frame).worker);
    case Type::kShutdown:
      FAULT("guardian.shutdown_asked");
      return end_within(milliseconds(parse<message::Shutdown>(frame).grace_ms));
    default:
      throw ExecutionError("[guardian] message of unknown type " + std::to_string(frame.type));
  }
}

void Guardian::hello(const message::Hello& hello) {
  FAULT("guardian.hello");
  if (hello.version != message::kProtocolVersion) {
    throw VersionError("[guardian] protocol " + std::to_string(hello.version) +
                       "; this guardian speaks " + std::to_string(message::kProtocolVersion));
  }
  hello_ = hello;
  caller_pidfd_ = process::open_pidfd(static_cast<pid_t>(hello.caller_pid));
  if (!caller_pidfd_) caller_gone_ = true;
}

void Guardian::end_within(milliseconds grace) {
  shutdown_at_ = sys::Clock::now() + grace;
  for (auto& [id, worker] : workers_) {
    worker.waiter.reset();
    if (worker.phase == WorkerState::Phase::kQueued) worker.phase = WorkerState::Phase::kEnded;
    if (!worker.kill_at) worker.kill_at = *shutdown_at_;
  }
}

void Guardian::stopped_by(std::int64_t pid, milliseconds grace) {
  message::send(caller_, message::Stopped{"by pid " + std::to_string(pid) + " (`ionian stop`)"});
  end_within(grace);
  for (auto& [id, worker] : workers_) kill_worker(worker, SIGTERM);
}

void Guardian::run_timers() {
  const auto now = sys::Clock::now();
  for (auto& [id, worker] : workers_) {
    if (worker.phase == WorkerState::Phase::kQueued && worker.waiter && worker.retry_at <= now) {
      try_lease(worker);
    }
    if (worker.phase == WorkerState::Phase::kDraining && worker.retry_at <= now) {
      if (drained(worker)) launch(worker);
    }
    if (worker.phase == WorkerState::Phase::kEnded && worker.release && worker.lease &&
        worker.retry_at <= now) {
      give_back(worker);
    }
    if (worker.kill_at && *worker.kill_at <= now) {
      worker.kill_at.reset();
      kill_worker(worker, SIGKILL);
    }
    if (worker.give_up_at && *worker.give_up_at <= now) {
      message::Exited exited;
      exited.worker = id;
      exited.cause = "it does not end, even by SIGKILL: it hangs in the kernel";
      worker_ended(exited);
    }
  }
  if (look_at_ <= now) tell_wanted();
  if (shutdown_at_ && *shutdown_at_ <= now) caller_gone_ = true;
  // Only here, outside every loop over them, do workers leave the table.
  std::erase_if(workers_, [](const auto& entry) {
    const WorkerState& worker = entry.second;
    return worker.phase == WorkerState::Phase::kEnded && worker.release && !worker.lease;
  });
}

void Guardian::reap() {
  for (;;) {
    siginfo_t ended{};
    // Its number stays its own until its group has been dealt with.
    if (::waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid == 0) return;
    FAULT("guardian.reaped");
    for (auto& [id, launcher] : launchers_) {
      if (launcher.pid == ended.si_pid) {
        launcher.pid = 0;
        launcher_gone(id);
        break;
      }
    }
    for (auto& [id, worker] : workers_) {
      if (worker.pid != ended.si_pid || worker.phase != WorkerState::Phase::kRunning) continue;
      message::Exited exited;
      exited.worker = id;
      exited.code = static_cast<std::uint32_t>(ended.si_code);
      exited.status = static_cast<std::uint32_t>(ended.si_status);
      ::kill(-ended.si_pid, SIGKILL);  // what is left of it
      worker_ended(exited);
      break;
    }
    ::waitpid(ended.si_pid, nullptr, WNOHANG);
  }
}

void Guardian::shut_down() {
  FAULT("guardian.shut_down");
  for (auto& [id, worker] : workers_) {
    worker.waiter.reset();
    if (worker.phase == WorkerState::Phase::kRunning) kill_worker(worker, SIGKILL);
    worker.pidfd.reset();  // to sweep needs descriptors, which may all be taken
    worker.fds.clear();
  }
  FAULT("guardian.sweep");
  // Whatever a function started and hid from its group still carries the run's variable, or has
  // become our child. The launchers come last: should we be killed now, they go on with this.
  for (int round = 0; round < 200; ++round) {
    const std::size_t found = process::sweep(process::kRunVariable, hello_.run);
    for (const pid_t pid : process::children()) ::kill(pid, SIGKILL);
    while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    if (found == 0 && process::children().empty()) break;
    ::usleep(500);
  }
  FAULT("guardian.swept");
  mps_.reset();
  for (auto& [id, worker] : workers_) {
    drain_output(id, worker);
    if (!worker.lease) continue;
    worker.drain_until = {};
    while (!drained(worker)) ::usleep(2000);
    worker.lease.release();
  }
  // The last lines of output: more than the socket takes at once goes as fast as it is read.
  const auto until = sys::Clock::now() + kLastWords;
  while (caller_.unsent() != 0 && sys::Clock::now() < until) {
    std::array<pollfd, 2> polled{{{caller_.fd(), POLLOUT, 0}, {caller_pidfd_.get(), POLLIN, 0}}};
    ::poll(polled.data(), polled.size(), 100);
    if (polled[1].revents != 0 || (polled[0].revents & (POLLERR | POLLHUP)) != 0) break;
    caller_.flush();
  }
}

}  // namespace ionian
