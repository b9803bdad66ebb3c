#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <utility>

#include "base/fault.hpp"
#include "exec/guardian.hpp"
#include "exec/launcher.hpp"
#include "exec/orphans.hpp"
#include "exec/process.hpp"
#include "ionian/error.hpp"

namespace ionian {
namespace {

using std::chrono::milliseconds;

/// A process that hangs in the kernel, as the driver's calls on a dead GPU can, does not end by any
/// signal.
constexpr milliseconds kUnkillable{5000};

constexpr int kDrainRounds = 32;  // of 64 KiB

struct OutputPipes {
  UniqueFd out;
  UniqueFd err;
  UniqueFd out_writer;
  UniqueFd err_writer;
};

OutputPipes output_pipes() {
  OutputPipes pipes;
  std::tie(pipes.out, pipes.out_writer) = sys::pipe();
  std::tie(pipes.err, pipes.err_writer) = sys::pipe();
  sys::set_nonblocking(pipes.out.get(), true);
  sys::set_nonblocking(pipes.err.get(), true);
  return pipes;
}

}  // namespace

void Guardian::start_launcher(message::StartLauncher order) {
  LauncherState& state = launchers_[order.launcher];
  state.order = std::move(order);
  state.env = state.order.env;
  const auto outer = process::variable(state.env, process::kRunVariable);
  process::set_variable(state.env, process::kRunVariable,
                        outer && !outer->empty() ? *outer + "/" + hello_.run : hello_.run);
  const std::uint32_t id = state.order.launcher;
  try {
    FAULT("guardian.start_launcher");
    auto [mine, theirs] = sys::socket_pair();
    OutputPipes pipes = output_pipes();
    process::Program program;
    program.argv = state.order.argv;
    program.env = state.env;
    program.cwd = state.order.cwd;
    program.stdout_fd = pipes.out_writer.get();
    program.stderr_fd = pipes.err_writer.get();
    program.fds = {{theirs.get(), Launcher::kSocketFd}, {death_read_.get(), Launcher::kDeathFd}};
    program.die_with_parent = true;
    state.pid = process::start(program);
    FAULT("guardian.launcher_started");
    state.socket = FrameSocket(std::move(mine));
    state.out = std::move(pipes.out);
    state.err = std::move(pipes.err);
    message::send(state.socket, message::Setup{state.order.setup});
    // While it imports the code there is time; GPUs are asked for later.
    if (!std::exchange(orphans_ended_, true))
      orphans::end(*process::variable(state.env, process::kRunVariable));
  } catch (const Error& error) {
    state.failed = true;
    message::send(caller_, message::LauncherFailed{id, error.what()});
  }
}

void Guardian::serve_launcher(std::uint32_t id) {
  launchers_.at(id).socket.flush();
  if (!hear_launcher(id)) launcher_gone(id);
}

/// Handles what it has said. Returns false if it says no more.
bool Guardian::hear_launcher(std::uint32_t id) {
  LauncherState& launcher = launchers_.at(id);
  const bool open = launcher.socket.receive();
  while (auto frame = launcher.socket.next()) {
    switch (static_cast<message::Type>(frame->type)) {
      case message::Type::kReady: {
        FAULT("guardian.launcher_ready");
        const auto ready = message::parse<message::Ready>(*frame);
        launcher.ready = true;
        launcher.forkable = ready.forkable;
        message::send(caller_, message::LauncherReady{id, ready.forkable, ready.reason});
        for (auto& [key, worker] : workers_) {
          if (worker.phase == WorkerState::Phase::kLaunching && worker.order.launcher == id)
            launch(worker);
        }
        break;
      }
      case message::Type::kFailed:
        launcher.failed = true;
        while (forward_output(0, 1, launcher.out) || forward_output(0, 2, launcher.err)) {
        }
        message::send(caller_,
                      message::LauncherFailed{id, message::parse<message::Failed>(*frame).text});
        break;
      case message::Type::kForked: {
        const auto message = message::parse<message::Forked>(*frame);
        forked(message.worker, static_cast<pid_t>(message.pid));
        break;
      }
      case message::Type::kExited:
        worker_ended(message::parse<message::Exited>(*frame));
        break;
      default:
        throw ExecutionError("[guardian] a launcher sent a message of unknown type");
    }
  }
  return open;
}

void Guardian::launcher_gone(std::uint32_t id) {
  LauncherState& launcher = launchers_.at(id);
  // Its end can be seen before its last words, which are all there by then.
  if (launcher.pid == 0 && launcher.socket.fd() >= 0) hear_launcher(id);
  launcher.socket.close();
  const bool again = launcher.ready && !launcher.failed && !shutdown_at_ && !caller_gone_;
  if (!launcher.failed && !again) {
    launcher.failed = true;
    while (forward_output(0, 1, launcher.out) || forward_output(0, 2, launcher.err)) {
    }
    message::send(caller_,
                  message::LauncherFailed{
                      id, "the launcher, which imports your code, ended before it was told to"});
  }
  // Its workers are ours now, and go on. Those that it reaped without a word are found missing
  // here.
  for (auto& [key, worker] : workers_) {
    if (worker.order.launcher != id) continue;
    const bool lost =
        worker.phase == WorkerState::Phase::kLaunching ||
        (worker.phase == WorkerState::Phase::kRunning && !worker.ours && !reach(worker, 0));
    if (!lost) continue;
    message::Exited exited;
    exited.worker = key;
    exited.cause = "its launcher died";
    worker_ended(exited);
  }
  // It had imported the code once, so it can again: only calls that were its to start are lost.
  if (again) {
    launcher.ready = false;
    start_launcher(launcher.order);  // in place: handlers of this round refer to it
  }
}

void Guardian::start_worker(message::StartWorker order, std::vector<UniqueFd> fds) {
  if (fds.size() != 3) {
    message::Exited exited;
    exited.worker = order.worker;
    exited.cause = "no file descriptor is left in the guardian of this run for one more worker";
    message::send(caller_, exited);
    return release_worker(order.inherit);  // nobody else asks for its GPUs
  }
  FAULT("guardian.worker_ordered");
  WorkerState& worker = workers_[order.worker];
  worker.order = std::move(order);
  worker.fds = std::move(fds);
  if (worker.order.inherit != 0) {
    const auto dead = workers_.find(worker.order.inherit);
    if (dead != workers_.end() && quarantined(dead->second)) {
      release_worker(worker.order.inherit);  // its GPUs are not for the next one
    } else if (dead != workers_.end()) {
      worker.lease = std::move(dead->second.lease);
      workers_.erase(dead);
    }
  }
  if (worker.lease) {
    worker.phase = WorkerState::Phase::kDraining;
    worker.drain_until = {};
    if (drained(worker)) launch(worker);
  } else if (!worker.order.request.empty()) {
    request_lease(worker);
  } else {
    launch(worker);
  }
}

void Guardian::launch(WorkerState& worker) {
  status_changed_ = true;
  const std::uint32_t id = worker.order.worker;
  if (worker.phase != WorkerState::Phase::kLaunching && worker.lease) {
    message::Leased leased;
    leased.worker = id;
    for (const auto& device : worker.lease.devices()) {
      leased.uuids.push_back(device.uuid);
      leased.types.push_back(device.type);
    }
    message::send(caller_, leased);
    look_at_ = sys::Clock::now();  // others may wait for them already
    watch_gpus(worker);
  }
  worker.phase = WorkerState::Phase::kLaunching;
  const auto found = launchers_.find(worker.order.launcher);
  if (found == launchers_.end() || found->second.failed) {
    message::Exited exited;
    exited.worker = id;
    exited.cause = "its launcher is not running";
    return worker_ended(exited);
  }
  LauncherState& launcher = found->second;
  if (!launcher.ready) return;
  try {
    FAULT("guardian.launch");
    const std::vector<std::string> additions = worker_env(worker);
    if (!launcher.forkable) return start_afresh(worker, launcher, additions);
    OutputPipes pipes = output_pipes();
    message::Fork fork;
    fork.worker = id;
    fork.env = additions;
    for (const auto& device : worker.lease.devices()) {
      for (const int cpu : device.cpus) fork.cpus.push_back(static_cast<std::uint32_t>(cpu));
    }
    message::send(launcher.socket, fork,
                  {worker.fds[0].get(), worker.fds[1].get(), worker.fds[2].get(),
                   pipes.out_writer.get(), pipes.err_writer.get()});
    FAULT("guardian.fork_sent");
    worker.out = std::move(pipes.out);
    worker.err = std::move(pipes.err);
  } catch (const Error& error) {
    message::Exited exited;
    exited.worker = id;
    exited.cause = std::string("it could not be started: ") + error.what();
    worker_ended(exited);
  }
}

/// Returns the calls that a nested call in `worker` stands in, one on each line.
std::string Guardian::callers_in(const WorkerState& worker) const {
  std::string text;
  for (const auto& caller : hello_.callers) text += caller + "\n";
  std::string mine = hello_.app + "." + worker.order.function;
  std::replace(mine.begin(), mine.end(), '\n', ' ');
  std::string gpus;
  for (const auto& device : worker.lease.devices())
    gpus += (gpus.empty() ? "" : ", ") + device.type + " " + device.uuid;
  return text + mine + (gpus.empty() ? "" : " (" + gpus + ")");
}

std::vector<std::string> Guardian::worker_env(const WorkerState& worker) {
  std::vector<std::string> env;
  std::string held;
  for (const auto& uuid : hello_.held_by_ancestors) held += (held.empty() ? "" : ",") + uuid;
  std::string leased;
  for (const auto& device : worker.lease.devices())
    leased += (leased.empty() ? "" : ",") + device.uuid;
  if (!leased.empty()) held += (held.empty() ? "" : ",") + leased;
  env.push_back("CUDA_VISIBLE_DEVICES=" + worker.lease.visible_devices());
  env.push_back("CUDA_DEVICE_ORDER=PCI_BUS_ID");
  env.push_back("IONIAN_HELD_GPUS=" + held);
  env.push_back("IONIAN_LEASED_GPUS=" + leased);
  env.push_back("IONIAN_CALLERS=" + callers_in(worker));
  env.push_back(std::string(process::kWorkerVariable) + "=" + hello_.run + ":" +
                std::to_string(worker.order.worker));
  for (auto& variable : mps_env(worker)) env.push_back(std::move(variable));
  return env;
}

void Guardian::start_afresh(WorkerState& worker, LauncherState& launcher,
                            const std::vector<std::string>& additions) {
  OutputPipes pipes = output_pipes();
  auto [setup_read, setup_write] = sys::socket_pair();
  process::Program program;
  program.argv = launcher.order.argv;
  program.argv.emplace_back("--worker");
  program.env = launcher.env;
  for (const auto& addition : additions) {
    const std::size_t equals = addition.find('=');
    process::set_variable(program.env, addition.substr(0, equals), addition.substr(equals + 1));
  }
  program.cwd = launcher.order.cwd;
  program.stdout_fd = pipes.out_writer.get();
  program.stderr_fd = pipes.err_writer.get();
  program.fds = {{worker.fds[0].get(), Worker::kMemoryFd},
                 {worker.fds[1].get(), Worker::kDoorbellFd},
                 {worker.fds[2].get(), Worker::kSocketFd},
                 {death_read_.get(), Worker::kDeathFd},
                 {setup_read.get(), Worker::kSetupFd}};
  program.die_with_parent = true;
  const pid_t pid = process::start(program);
  worker.ours = true;
  worker.out = std::move(pipes.out);
  worker.err = std::move(pipes.err);
  forked(worker.order.worker, pid);
  // The setup is small; the socket keeps it until the program reads it, also after we close our
  // end.
  const std::string& setup = launcher.order.setup;
  sys::set_nonblocking(setup_write.get(), true);
  sys::write_all(setup_write.get(), std::as_bytes(std::span(setup)));
}

void Guardian::forked(std::uint32_t id, pid_t pid) {
  const auto found = workers_.find(id);
  if (found == workers_.end()) return;
  WorkerState& worker = found->second;
  FAULT("guardian.forked");
  status_changed_ = true;
  worker.pid = pid;
  worker.pidfd = process::open_pidfd(pid);
  worker.phase = WorkerState::Phase::kRunning;
  worker.fds.clear();
  message::send(caller_, message::Forked{id, pid});
  // Stopped while it was forked, or its GPU failed.
  if (worker.release || worker.fault) kill_worker(worker, SIGKILL);
}

void Guardian::kill_worker(WorkerState& worker, int signal) {
  if (worker.phase != WorkerState::Phase::kRunning) return;
  if (signal == SIGKILL && !worker.give_up_at) worker.give_up_at = sys::Clock::now() + kUnkillable;
  // Its launcher may have reaped it, and its number be another's, before we hear of that.
  if (reach(worker, signal)) ::kill(-worker.pid, signal);  // its group, which it leads
}

/// Sends a signal, 0 for none, to the process alone. Returns whether it is there.
bool Guardian::reach(const WorkerState& worker, int signal) {
  // Without descriptors there is no pidfd.
  return worker.pidfd ? process::send_signal(worker.pidfd, signal)
                      : ::kill(worker.pid, signal) == 0;
}

void Guardian::stop_worker(const message::StopWorker& stop) {
  const auto found = workers_.find(stop.worker);
  if (found == workers_.end()) return;
  WorkerState& worker = found->second;
  FAULT("guardian.stop_worker");
  worker.release = true;
  if (worker.phase == WorkerState::Phase::kLaunching && worker.out)
    return;  // it is being forked: `forked` or its launcher's end comes
  if (worker.phase != WorkerState::Phase::kRunning) {
    message::Exited exited;
    exited.worker = stop.worker;
    exited.cause = "it was stopped before it was started";
    return worker_ended(exited);
  }
  if (stop.terminate) kill_worker(worker, stop.grace_ms == 0 ? SIGKILL : SIGTERM);
  if (stop.grace_ms != 0) worker.kill_at = sys::Clock::now() + milliseconds(stop.grace_ms);
}

void Guardian::release_worker(std::uint32_t id) {
  const auto found = workers_.find(id);
  if (found == workers_.end()) return;
  WorkerState& worker = found->second;
  const bool being_forked = worker.phase == WorkerState::Phase::kLaunching && worker.out;
  if (worker.phase == WorkerState::Phase::kRunning || being_forked) {
    worker.release = true;  // it was started before we heard that nobody wants it any more
    return kill_worker(worker, SIGKILL);
  }
  worker.phase = WorkerState::Phase::kEnded;
  worker.release = true;
  give_back(worker);
}

void Guardian::worker_ended(message::Exited exited) {
  const auto found = workers_.find(exited.worker);
  if (found == workers_.end() || found->second.phase == WorkerState::Phase::kEnded) return;
  WorkerState& worker = found->second;
  status_changed_ = true;
  worker.phase = WorkerState::Phase::kEnded;
  worker.kill_at.reset();
  FAULT("guardian.worker_ended");
  worker.give_up_at.reset();
  if (worker.fault) {
    exited.gpu = worker.fault->gpu;
    exited.gpu_uuid = worker.fault->uuid;
    exited.gpu_fault = worker.fault->text;
    exited.gpu_action = worker.fault->action;
    exited.xid = worker.fault->xid;
  }
  drain_output(exited.worker, worker);
  if (!worker.release) mps_doubtful_ = true;
  if (exited.code == CLD_KILLED && exited.status == SIGKILL) {
    const auto kills = process::oom_kills();
    exited.out_of_memory = kills && oom_kills_ && *kills > *oom_kills_;
    oom_kills_ = kills;
  }
  message::send(caller_, exited);
  // Whoever reaps it has ended its group before.
  if (worker.pid > 0)
    process::sweep(process::kWorkerVariable, hello_.run + ":" + std::to_string(exited.worker), 3);
  worker.pidfd.reset();
  worker.fds.clear();
  if (worker.release || !worker.lease) release_worker(exited.worker);
}

bool Guardian::forward_output(std::uint32_t worker, std::uint32_t stream, UniqueFd& fd) {
  if (!fd) return false;
  std::array<char, 65536> buffer;  // NOLINT: filled by read
  ssize_t size = 0;
  do {
    size = ::read(fd.get(), buffer.data(), buffer.size());
  } while (size < 0 && errno == EINTR);
  if (size > 0) {
    message::send(caller_,
                  message::Output{worker, stream,
                                  std::string(buffer.data(), static_cast<std::size_t>(size))});
    return true;
  }
  if (size == 0 || errno != EAGAIN) fd.reset();
  return false;
}

void Guardian::drain_output(std::uint32_t id, WorkerState& worker) {
  // What was written before the end is in the pipe, which holds 1 MiB at most. A child that lives
  // on may hold the pipe open, and even go on writing: we do not wait for it.
  for (int round = 0; round < kDrainRounds && forward_output(id, 1, worker.out); ++round) {
  }
  for (int round = 0; round < kDrainRounds && forward_output(id, 2, worker.err); ++round) {
  }
  worker.out.reset();
  worker.err.reset();
}

}  // namespace ionian
