// The control thread: the guardian's messages, and everything that happens because time passes.
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <set>

#include "base/fault.hpp"
#include "exec/executor.hpp"
#include "exec/process.hpp"

namespace ionian {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr std::size_t kMaxEventBytes = std::size_t{16} << 20;
constexpr milliseconds kTellWaitingAfter{300};

std::string parent_run() {
  const char* run = std::getenv(process::kRunVariable);
  return run == nullptr || *run == '\0' ? "" : std::string(run) + "/";
}

[[noreturn]] void throw_by_name(const std::string& name, const std::string& text) {
  if (name == "UnsatisfiableError") throw UnsatisfiableError(text);
  if (name == "LeaseDeadlockError") throw LeaseDeadlockError(text);
  if (name == "InvalidError") throw InvalidError(text);
  if (name == "PermissionDeniedError") throw PermissionDeniedError(text);
  if (name == "ResourceExhaustedError") throw ResourceExhaustedError(text);
  throw ExecutionError(text);
}

std::exception_ptr error_by_name(const std::string& name, const std::string& text) {
  try {
    throw_by_name(name, text);
  } catch (...) {
    return std::current_exception();
  }
}

/// Returns how many of the GPUs that `worker` holds would serve `demand`.
std::size_t served(const LeaseDemand& demand, const WorkerRecord& worker) {
  return static_cast<std::size_t>(
      std::count_if(worker.uuids.begin(), worker.uuids.end(), [&](const std::string& uuid) {
        return std::find(demand.uuids.begin(), demand.uuids.end(), uuid) != demand.uuids.end();
      }));
}

/// A nested run must see the GPUs that the outer program saw, not only those of the call it is in.
std::optional<std::string> outer_visible_devices() {
  const char* outer = std::getenv("IONIAN_VISIBLE_DEVICES");
  if (outer != nullptr)
    return std::string(outer) == "all" ? std::nullopt : std::optional(std::string(outer));
  const char* mine = std::getenv("CUDA_VISIBLE_DEVICES");
  return mine == nullptr ? std::nullopt : std::optional(std::string(mine));
}

}  // namespace

const Inventory& Executor::inventory() {
  check_process();
  const std::lock_guard lock(inventory_mutex_);
  if (!book_) {
    InventoryOptions options = InventoryOptions::from_environment();
    if (options_.simulate) options.simulate = options_.simulate;
    options.visible_devices = outer_visible_devices();
    options.processes = false;
    LeaseBookOptions lease_options = LeaseBookOptions::from_environment();
    lease_options.lock_dir = options_.lock_dir;
    lease_options.match = parse_gpu_match(options_.match);
    book_ = std::make_unique<LeaseBook>(read_inventory(options), lease_options);
  }
  return book_->inventory();
}

void Executor::start_guardian() {
  auto [mine, theirs] = sys::socket_pair();
  process::Program program;
  program.argv = {options_.guardian};
  program.env = process::environment();
  const auto visible = outer_visible_devices();
  if (visible) {
    process::set_variable(program.env, "CUDA_VISIBLE_DEVICES", *visible);
  } else {
    std::erase_if(program.env,
                  [](const auto& entry) { return entry.starts_with("CUDA_VISIBLE_DEVICES="); });
  }
  // A new name for each guardian: the old one's launcher may still be sweeping up its own.
  const std::string run = run_id_ + (guardians_ == 0 ? "" : "-" + std::to_string(guardians_));
  ++guardians_;
  process::set_variable(program.env, process::kRunVariable, parent_run() + run);
  const UniqueFd null_fd = sys::open("/dev/null", O_RDWR);
  program.stdout_fd = null_fd.get();
  program.fds = {{theirs.get(), 3}};
  guardian_pid_ = process::start(program);
  FAULT("executor.guardian_started");
  guardian_ = FrameSocket(std::move(mine));
  wake_control();  // it polls the old one
  message::Hello hello;
  hello.run = run;
  hello.app = options_.app;
  hello.has_simulate = options_.simulate.has_value();
  hello.simulate = options_.simulate.value_or("");
  hello.match = options_.match;
  hello.lock_dir = options_.lock_dir;
  hello.caller_pid = ::getpid();
  hello.held_by_ancestors = options_.held_by_ancestors;
  hello.callers = options_.callers;
  message::send(guardian_, hello);
  for (const auto& [id, launcher] : launchers_) {
    message::send(guardian_, message::StartLauncher{id, launcher.argv, launcher.env, launcher.cwd,
                                                    launcher.setup});
  }
}

std::uint32_t Executor::start_launcher(LauncherOptions options) {
  const auto visible = outer_visible_devices();
  process::set_variable(options.env, "IONIAN_VISIBLE_DEVICES", visible.value_or("all"));
  const Lock lock = enter();
  check_usable();
  const std::uint32_t id = next_launcher_++;
  const auto& kept = launchers_[id] = std::move(options);
  if (!guardian_) {
    start_guardian();
  } else {
    message::send(guardian_, message::StartLauncher{id, kept.argv, kept.env, kept.cwd, kept.setup});
  }
  return id;
}

void Executor::control_loop() {
  for (;;) {
    int guardian_fd = -1;
    bool write_too = false;
    sys::TimePoint until;
    {
      const Lock lock(mutex_);
      if (state_ == State::kClosed) return;
      until = std::min(run_timers(), sys::Clock::now() + std::chrono::seconds(1));
      control_until_ = until;
      guardian_fd = guardian_.fd();
      write_too = guardian_.unsent() != 0;
    }
    const auto wait = std::max<nanoseconds>(until - sys::Clock::now(), nanoseconds(0));
    std::array<pollfd, 2> polled{
        {{wake_control_.get(), POLLIN, 0},
         {guardian_fd, static_cast<short>(POLLIN | (write_too ? POLLOUT : 0)), 0}}};
    ::poll(polled.data(), polled.size(),
           static_cast<int>(std::chrono::ceil<milliseconds>(wait).count()));
    if (polled[0].revents != 0) {
      std::uint64_t count = 0;
      [[maybe_unused]] const ssize_t size = ::read(wake_control_.get(), &count, sizeof(count));
    }
    if (polled[1].revents == 0) continue;
    const Lock lock(mutex_);
    if (guardian_.fd() != guardian_fd) continue;
    bool open = guardian_.flush();
    open = guardian_.receive() && open;
    try {
      while (auto frame = guardian_.next()) handle(*frame);
    } catch (const Error& error) {
      emit({ExecutorEvent::Kind::kWarning, 0, "", error.what()});
      open = false;
    }
    if (!open) guardian_gone();
    doorbell_.ring();  // whoever leads looks again
  }
}

void Executor::wake_control() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_control_.get(), &one, sizeof(one));
}

WorkerRecord* Executor::find(std::uint32_t worker) {
  const auto found = workers_.find(worker);
  return found == workers_.end() ? nullptr : found->second.get();
}

void Executor::handle(const Frame& frame) {
  using message::parse;
  using message::Type;
  switch (static_cast<Type>(frame.type)) {
    case Type::kLauncherReady: {
      const auto ready = parse<message::LauncherReady>(frame);
      if (!ready.forkable) {
        emit({ExecutorEvent::Kind::kWarning, 0, "",
              "workers start as fresh processes, which takes seconds instead of milliseconds: " +
                  ready.reason});
      }
      return;
    }
    case Type::kLauncherFailed:
      return on_launcher_failed(parse<message::LauncherFailed>(frame));
    case Type::kWaiting: {
      const auto waiting = parse<message::Waiting>(frame);
      WorkerRecord* worker = find(waiting.worker);
      if (worker == nullptr) return;
      worker->pool->waiting = waiting.text;
      if (!worker->pool->tell_waiting_at) {
        worker->pool->tell_waiting_at = sys::Clock::now() + kTellWaitingAfter;
      }
      return;
    }
    case Type::kLeased: {
      const auto leased = parse<message::Leased>(frame);
      WorkerRecord* worker = find(leased.worker);
      if (worker == nullptr) return message::send(guardian_, message::ReleaseWorker{leased.worker});
      worker->leased = true;
      worker->uuids = leased.uuids;
      worker->types = leased.types;
      worker->starting_since = sys::Clock::now();
      worker->pool->waiting.clear();
      worker->pool->tell_waiting_at.reset();
      return;
    }
    case Type::kLeaseFailed: {
      const auto failed = parse<message::LeaseFailed>(frame);
      WorkerRecord* worker = find(failed.worker);
      if (worker == nullptr) return;
      Pool& pool = *worker->pool;
      std::erase(pool.workers, worker);
      workers_.erase(failed.worker);
      if (++pool.failed_starts >= kMaxFailedStarts) {
        give_up(pool, false);
        if (pool.queue.empty())
          emit({ExecutorEvent::Kind::kWarning, 0, pool.options.name, failed.text});
      }
      if (pool.workers.empty()) fail_queue(pool, error_by_name(failed.error, failed.text));
      return;
    }
    case Type::kForked: {
      const auto forked = parse<message::Forked>(frame);
      if (WorkerRecord* worker = find(forked.worker)) worker->pid = forked.pid;
      return;
    }
    case Type::kExited: {
      const auto exited = parse<message::Exited>(frame);
      if (WorkerRecord* worker = find(exited.worker)) worker_dead(*worker, exited);
      return;
    }
    case Type::kOutput:
      return on_output(parse<message::Output>(frame));
    case Type::kGpuNotice: {
      const auto notice = parse<message::GpuNotice>(frame);
      const WorkerRecord* worker = find(notice.worker);
      if (worker == nullptr) return;
      return emit(
          {ExecutorEvent::Kind::kNotice, worker->ordinal, worker->pool->options.name, notice.text});
    }
    case Type::kWanted:
      on_wanted(parse<message::Wanted>(frame));
      return give_back_wanted();
    case Type::kStopped:
      return on_stopped(parse<message::Stopped>(frame));
    default:
      throw ExecutionError("[executor] the guardian sent a message of unknown type");
  }
}

void Executor::on_output(const message::Output& output) {
  WorkerRecord* worker = find(output.worker);
  const auto kind =
      output.stream == 1 ? ExecutorEvent::Kind::kStdout : ExecutorEvent::Kind::kStderr;
  LineBuffer& lines = worker == nullptr ? launcher_lines_[output.stream == 1 ? 0 : 1]
                                        : worker->lines[output.stream == 1 ? 0 : 1];
  const std::string name = worker == nullptr ? "" : worker->pool->options.name;
  const std::uint32_t ordinal = worker == nullptr ? 0 : worker->ordinal;
  for (auto& line : lines.push(output.bytes)) emit({kind, ordinal, name, std::move(line)});
  if (worker == nullptr) return;
  worker->log_tail += output.bytes;
  if (worker->log_tail.size() > LineBuffer::kTailBytes) {
    worker->log_tail.erase(0, worker->log_tail.size() - LineBuffer::kTailBytes);
  }
}

void Executor::on_wanted(message::Wanted wanted) {
  wanted_.clear();
  auto uuid = std::make_move_iterator(wanted.uuids.begin());
  for (std::size_t i = 0; i < wanted.counts.size(); ++i) {
    LeaseDemand demand{wanted.counts[i], {uuid, uuid + wanted.sizes[i]}};
    uuid += wanted.sizes[i];
    // The guardian may have spoken before it heard of those that go already.
    for (const auto& [id, worker] : workers_) {
      if (worker->phase == WorkerRecord::Phase::kStopping)
        demand.count -= std::min(demand.count, served(demand, *worker));
    }
    wanted_.push_back(std::move(demand));
  }
}

void Executor::give_back_wanted() {
  for (auto& demand : wanted_) {
    for (const auto& [id, worker] : workers_) {
      if (demand.count == 0) break;
      if (worker->phase != WorkerRecord::Phase::kReady || !worker->in_flight.empty()) continue;
      if (!worker->pool->queue.empty()) continue;
      const std::size_t count = served(demand, *worker);
      if (count == 0) continue;
      demand.count -= std::min(demand.count, count);
      retire(*worker);
    }
  }
  std::erase_if(wanted_, [](const LeaseDemand& demand) { return demand.count == 0; });
}

void Executor::on_launcher_failed(const message::LauncherFailed& failed) {
  WorkerDeath death;
  death.cause = "your code could not be imported there";
  death.log_tail = failed.text;
  const auto why = [&](const std::string& pool) {
    WorkerDeath mine = death;
    mine.pool = pool;
    const std::string text = describe(mine);
    return std::make_exception_ptr(WorkerStartError(text, std::move(mine)));
  };
  broken_launchers_[failed.launcher] = why(options_.app);
  for (auto& pool : pools_) {
    if (pool.options.launcher != failed.launcher) continue;
    const bool running = std::any_of(
        pool.workers.begin(), pool.workers.end(),
        [](const auto* worker) { return worker->phase == WorkerRecord::Phase::kReady; });
    pool.broken = why(pool.options.name);
    if (!running) fail_queue(pool, pool.broken);
  }
}

void Executor::guardian_gone() {
  guardian_.close();
  int status = -1;
  if (guardian_pid_ > 0) ::waitpid(guardian_pid_, &status, 0);
  guardian_pid_ = 0;
  // One that ended by itself has left nothing. A killed one may have, also while we close.
  const std::string run = run_id_ + (guardians_ == 1 ? "" : "-" + std::to_string(guardians_ - 1));
  if (status != 0) process::sweep(process::kRunVariable, run);
  if (state_ != State::kOpen) {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(closed_.get(), &one, sizeof(one));
    return;
  }
  message::Exited exited;
  exited.cause = "the guardian of this run died, and its workers with it";
  broken_launchers_.clear();
  for (auto& pool : pools_) pool.broken = nullptr;
  std::set<Pool*> starting;
  while (!workers_.empty()) {
    exited.worker = workers_.begin()->first;
    WorkerRecord& worker = *workers_.begin()->second;
    if (worker.phase == WorkerRecord::Phase::kStarting) starting.insert(worker.pool);
    worker.phase = WorkerRecord::Phase::kStopping;  // no lease is left to inherit
    worker.uuids.clear();
    state_ = State::kClosing;  // let nothing start while we clear the table
    pump_worker(worker);
    worker.pool->unleased_since = sys::Clock::now();
    std::erase(worker.pool->workers, &worker);
    WorkerDeath death;
    death.pool = worker.pool->options.name;
    death.pid = worker.pid;
    death.cause = exited.cause;
    death.log_tail = worker.log_tail;
    state_ = State::kOpen;
    lose_calls(worker, death, exited);
    workers_.erase(workers_.begin());
  }
  // One that dies each time, before any worker is ready, is not started for ever.
  for (Pool* pool : starting) {
    WorkerDeath death;
    death.cause = exited.cause;
    start_failed(*pool, death, false);
  }
  for (auto& pool : pools_) plan(pool);  // starts a new guardian if there is work
}

void Executor::emit(ExecutorEvent event) {
  const std::lock_guard lock(events_mutex_);
  events_bytes_ += event.text.size();
  events_.push_back(std::move(event));
  while (events_bytes_ > kMaxEventBytes && events_.size() > 1) {
    events_bytes_ -= events_.front().text.size();
    events_.pop_front();
    ++events_dropped_;
  }
  events_changed_.notify_one();
}

std::optional<ExecutorEvent> Executor::next_event(sys::TimePoint deadline, bool& closed) {
  closed = forked();
  if (closed) return std::nullopt;
  Lock lock(events_mutex_);
  events_changed_.wait_until(lock, deadline, [this] { return !events_.empty() || events_closed_; });
  closed = events_.empty() && events_closed_;
  if (events_.empty()) return std::nullopt;
  if (events_dropped_ != 0) {
    const std::string text =
        std::to_string(std::exchange(events_dropped_, 0)) +
        " lines of output were dropped: they came faster than they could be shown";
    return ExecutorEvent{ExecutorEvent::Kind::kWarning, 0, "", text};
  }
  ExecutorEvent event = std::move(events_.front());
  events_.pop_front();
  events_bytes_ -= event.text.size();
  return event;
}

void Executor::stop() {
  const Lock lock = enter();
  if (guardian_) message::send(guardian_, message::Shutdown{0});
}

void Executor::close(milliseconds grace) {
  if (forked()) return;
  {
    const Lock lock(mutex_);
    if (state_ != State::kOpen) return;
    state_ = State::kClosing;
    for (const auto& [id, worker] : workers_) {
      if (worker->phase == WorkerRecord::Phase::kReady && worker->in_flight.empty()) {
        retire(*worker);
      } else {
        stop_worker(*worker, grace, true);
      }
    }
    const auto ended =
        std::make_exception_ptr(ExecutionError("[executor] the run ended before the call did"));
    for (auto& pool : pools_) fail_queue(pool, ended);
    while (!delayed_.empty()) fail(delayed_.extract(delayed_.begin()).mapped(), ended);
    for (const auto& [id, worker] : workers_) {
      for (const auto& call : worker->in_flight) fail(call, ended);
    }
    if (guardian_) {
      message::send(guardian_, message::Shutdown{static_cast<std::uint32_t>(grace.count())});
    }
    doorbell_.ring();
  }
  // The guardian ends when everything else has; the control thread goes on forwarding output till
  // then.
  const auto limit = sys::Clock::now() + grace + std::chrono::seconds(15);
  for (;;) {
    {
      const Lock lock(mutex_);
      if (!guardian_) break;
      if (sys::Clock::now() > limit) {
        ::kill(guardian_pid_, SIGKILL);
        process::sweep(process::kRunVariable, run_id_);
      }
    }
    pollfd polled{closed_.get(), POLLIN, 0};
    ::poll(&polled, 1, 100);
  }
  {
    const Lock lock(mutex_);
    state_ = State::kClosed;
    workers_.clear();
    pump_wanted_.notify_all();
  }
  wake_control();
  control_.join();
  pump_.join();
  const std::lock_guard lock(events_mutex_);
  events_closed_ = true;
  events_changed_.notify_all();
}

}  // namespace ionian
