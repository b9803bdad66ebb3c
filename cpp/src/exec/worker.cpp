#include "exec/worker.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "base/fault.hpp"
#include "base/syscall.hpp"
#include "ionian/error.hpp"
#include "ionian/log.hpp"

namespace ionian {
namespace {

UniqueFd inherited(int fd) {
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  return UniqueFd(fd);
}

/// Ends this process and what it started in its group, without asking anybody.
[[noreturn]] void end_at_once() {
  if (::getpgrp() == ::getpid()) ::kill(0, SIGKILL);
  ::kill(::getpid(), SIGKILL);
  ::_exit(137);
}

}  // namespace

Worker::Worker(WorkerFds fds)
    : channel_(std::move(fds.memory), std::move(fds.doorbell), std::move(fds.socket)),
      death_(std::move(fds.death)),
      stop_(sys::event_fd()),
      main_thread_(::pthread_self()) {
  FAULT("worker.made");
  // The thread takes no signals: they are for the main thread, where Python handles them.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  watcher_ = std::thread([this] { watch(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Worker::~Worker() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(stop_.get(), &one, sizeof(one));
  watcher_.join();
}

std::unique_ptr<Worker> Worker::from_inherited() {
  return std::make_unique<Worker>(WorkerFds{inherited(kMemoryFd), inherited(kDoorbellFd),
                                            inherited(kSocketFd), inherited(kDeathFd)});
}

void Worker::forget() noexcept {
  channel_.forget();
  death_.reset();
  stop_.reset();
}

void Worker::watch() {
  for (;;) {
    std::array<pollfd, 3> polled{
        {{channel_.socket(), POLLIN, 0}, {death_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}}};
    if (::poll(polled.data(), polled.size(), -1) < 0) continue;
    if (polled[2].revents != 0) return;
    if (polled[1].revents != 0) end_at_once();
    if (polled[0].revents == 0) continue;
    bool closed = false;
    std::uint64_t cancelled = 0;
    try {
      cancelled = channel_.handle_peer_message(closed);
    } catch (const Error& error) {  // memory that must not be mapped: nothing after it can be right
      log(LogLevel::kWarning, error.what());
      closed = true;
    }
    if (closed) end_at_once();
    if (cancelled != 0 && cancelled == channel_.current_call()) {
      cancelled_.store(cancelled);
      ::pthread_kill(main_thread_, SIGUSR1);
    }
  }
}

bool Worker::take_cancellation() {
  const std::uint64_t cancelled = cancelled_.exchange(0);
  return cancelled != 0 && cancelled == channel_.current_call();
}

}  // namespace ionian
