#include "exec/launcher.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>

#include "base/fault.hpp"
#include "exec/message.hpp"
#include "exec/process.hpp"
#include "ionian/error.hpp"

namespace ionian {
namespace {

constexpr std::chrono::seconds kUnkillable{5};

UniqueFd inherited(int fd) {
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  return UniqueFd(fd);
}

}  // namespace

std::unique_ptr<Worker> WorkerOrder::become() {
  ::setsid();
  FAULT("worker.become");
  ::dup2(stdout_fd.get(), STDOUT_FILENO);
  ::dup2(stderr_fd.get(), STDERR_FILENO);
  stdout_fd.reset();
  stderr_fd.reset();
  if (!cpus.empty()) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (const std::uint32_t cpu : cpus) {
      if (cpu < CPU_SETSIZE) CPU_SET(cpu, &set);
    }
    // A cpuset of the machine can forbid them all; then the worker runs wherever it may.
    ::sched_setaffinity(0, sizeof(set), &set);
  }
  return std::make_unique<Worker>(std::move(fds));
}

Launcher::Launcher() : socket_(inherited(kSocketFd)), death_(inherited(kDeathFd)) {
  ::prctl(PR_GET_NAME, name_.data());
  ::prctl(PR_SET_NAME, process::kLauncherName);
  const char* run = std::getenv(process::kRunVariable);
  if (run != nullptr) run_ = std::string(run).substr(std::string(run).rfind('/') + 1);
}

Launcher::~Launcher() = default;

std::optional<std::string> Launcher::setup() {
  auto frame = wait_for_frame();
  if (!frame) return std::nullopt;
  FAULT("launcher.setup");
  return message::parse<message::Setup>(*frame).setup;
}

void Launcher::ready(bool forkable, const std::string& reason) {
  // From here on the end of the socket tells that the guardian is gone, and there is work to do
  // then.
  ::prctl(PR_SET_PDEATHSIG, 0);
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  signals_ = UniqueFd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) throw_errno("create a signalfd", errno);
  FAULT("launcher.ready");
  message::send(socket_, message::Ready{forkable, reason});
}

void Launcher::failed(const std::string& text) { message::send(socket_, message::Failed{text}); }

std::optional<Frame> Launcher::wait_for_frame() {
  for (;;) {
    if (auto frame = socket_.next()) return frame;
    std::array<pollfd, 2> polled{{{socket_.fd(), POLLIN, 0}, {signals_.get(), POLLIN, 0}}};
    if (socket_.unsent() != 0) polled[0].events |= POLLOUT;
    if (::poll(polled.data(), signals_ ? 2 : 1, -1) < 0 && errno != EINTR) {
      throw_errno("wait for the guardian", errno);
    }
    if (polled[1].revents != 0) report_exits();
    if ((polled[0].revents & POLLOUT) != 0) socket_.flush();
    if ((polled[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && !socket_.receive()) {
      return std::nullopt;
    }
  }
}

std::optional<WorkerOrder> Launcher::next() {
  while (auto frame = wait_for_frame()) {
    FAULT("launcher.order");
    const auto fork = message::parse<message::Fork>(*frame);
    WorkerOrder order;
    order.worker = fork.worker;
    order.env = fork.env;
    order.cpus = fork.cpus;
    order.fds.death = UniqueFd(::fcntl(death_.get(), F_DUPFD_CLOEXEC, 0));
    if (frame->fds.size() != 5 || !order.fds.death) {
      refused(fork.worker,
              "no file descriptor is left in the process that imported the code and forks its "
              "workers: does the module keep files open?");
      continue;
    }
    order.fds.memory = std::move(frame->fds[0]);
    order.fds.doorbell = std::move(frame->fds[1]);
    order.fds.socket = std::move(frame->fds[2]);
    order.stdout_fd = std::move(frame->fds[3]);
    order.stderr_fd = std::move(frame->fds[4]);
    return order;
  }
  end_everything();
  return std::nullopt;
}

void Launcher::refused(std::uint32_t worker, const std::string& why) {
  message::Exited exited;
  exited.worker = worker;
  exited.cause = "it could not be started: " + why;
  message::send(socket_, exited);
}

void Launcher::forked(std::uint32_t worker, pid_t pid) {
  FAULT("launcher.forked");
  workers_[pid] = worker;
  message::send(socket_, message::Forked{worker, pid});
}

void Launcher::forget() noexcept {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigprocmask(SIG_SETMASK, &set, nullptr);
  ::prctl(PR_SET_NAME, name_.data());
  socket_.close();
  signals_.reset();
  death_.reset();
  workers_.clear();
}

void Launcher::report_exits() {
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof(info)) > 0) {
  }
  for (;;) {
    siginfo_t ended{};
    if (::waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid == 0) return;
    const auto found = workers_.find(ended.si_pid);
    // The rest of its group, while the number is still its own.
    if (found != workers_.end()) ::kill(-ended.si_pid, SIGKILL);
    ::waitpid(ended.si_pid, nullptr, WNOHANG);
    FAULT("launcher.reaped");
    if (found == workers_.end()) continue;
    message::Exited exited;
    exited.worker = found->second;
    exited.code = static_cast<std::uint32_t>(ended.si_code);
    exited.status = static_cast<std::uint32_t>(ended.si_status);
    workers_.erase(found);
    message::send(socket_, exited);
  }
}

void Launcher::end_everything() {
  FAULT("launcher.end");
  for (const auto& [pid, worker] : workers_) ::kill(-pid, SIGKILL);
  for (const auto& [pid, worker] : workers_) ::kill(pid, SIGKILL);
  if (!run_.empty()) process::sweep(process::kRunVariable, run_);
  // One that hangs in the kernel is not waited for.
  const auto until = sys::Clock::now() + kUnkillable;
  while (::waitpid(-1, nullptr, WNOHANG) >= 0 && sys::Clock::now() < until) ::usleep(500);
}

}  // namespace ionian
