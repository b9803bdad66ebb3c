#include "exec/gang.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

#include "ionian/error.hpp"

namespace ionian {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr std::size_t kMaxUnsent = std::size_t{1} << 20;
constexpr std::size_t kTailBytes = std::size_t{4} << 10;
constexpr int kRounds = 64;  // reads of one pipe before the others have their turn
/// About what a sleeper's wake-up costs; a collective's answer often comes sooner.
constexpr microseconds kSpin{50};
constexpr milliseconds kSlice{50};  // a signal that falls between look and sleep waits this long

UniqueFd copy_of(int fd) {
  UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!copy) throw_errno("duplicate a file descriptor", errno);
  return copy;
}

}  // namespace

Gang::Gang(Worker& leader, std::size_t ranks)
    : leader_(leader), ranks_(ranks), stop_(sys::event_fd()) {
  const bool roomy = ranks + 1 < std::thread::hardware_concurrency();
  for (Rank& rank : ranks_) {
    rank.channel = std::make_unique<CallerChannel>();
    rank.channel->set_spin(roomy ? kSpin : microseconds(0));
    std::tie(rank.out, rank.out_writer) = sys::pipe();
    std::tie(rank.err, rank.err_writer) = sys::pipe();
    sys::set_nonblocking(rank.out.get(), true);
    sys::set_nonblocking(rank.err.get(), true);
  }
}

Gang::~Gang() {
  try {
    end();
  } catch (const Error&) {
    // Its processes are in our group: they end with us.
  }
}

std::unique_ptr<Worker> Gang::become(std::size_t number) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  Rank& rank = ranks_.at(number);
  WorkerFds fds;
  fds.memory = copy_of(rank.channel->memory_fd());
  fds.doorbell = copy_of(doorbell_.fd());
  fds.socket = copy_of(rank.channel->worker_socket());
  fds.death = copy_of(leader_.death());
  ::dup2(rank.out_writer.get(), STDOUT_FILENO);
  ::dup2(rank.err_writer.get(), STDERR_FILENO);
  ranks_.clear();
  stop_.reset();
  leader_.forget();
  return std::make_unique<Worker>(std::move(fds));
}

void Gang::started(Rank& rank, pid_t pid) {
  rank.pid = pid;
  rank.pidfd = process::open_pidfd(pid);
  if (!rank.pidfd) {  // its end could not be seen
    const int code = errno;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    rank.pid = 0;
    throw_errno("watch a rank", code);
  }
  rank.channel->handed_over();
  rank.out_writer.reset();
  rank.err_writer.reset();
}

void Gang::forked(std::size_t rank, pid_t pid) { started(ranks_.at(rank), pid); }

pid_t Gang::start_afresh(std::size_t number, process::Program program, const std::string& setup) {
  Rank& rank = ranks_.at(number);
  auto [setup_read, setup_write] = sys::socket_pair();
  program.stdout_fd = rank.out_writer.get();
  program.stderr_fd = rank.err_writer.get();
  program.fds = {{rank.channel->memory_fd(), Worker::kMemoryFd},
                 {doorbell_.fd(), Worker::kDoorbellFd},
                 {rank.channel->worker_socket(), Worker::kSocketFd},
                 {leader_.death(), Worker::kDeathFd},
                 {setup_read.get(), Worker::kSetupFd}};
  program.new_session = false;
  program.die_with_parent = true;
  started(rank, process::start(program));
  // The socket keeps it until the program reads it, also after we close our end.
  sys::set_nonblocking(setup_write.get(), true);
  sys::write_all(setup_write.get(), std::as_bytes(std::span(setup)));
  return rank.pid;
}

void Gang::watch() {
  // What goes out must never make the thread wait: it also has to see ranks end.
  sys::set_nonblocking(STDOUT_FILENO, true);
  sys::set_nonblocking(STDERR_FILENO, true);
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  watcher_ = std::thread([this] { watch_loop(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Gang::watch_loop() {
  for (;;) {
    std::vector<pollfd> polled{{alive() ? -1 : stop_.get(), POLLIN, 0}};
    for (const int stream : {0, 1}) {
      const int fd = stream == 0 ? STDOUT_FILENO : STDERR_FILENO;
      polled.push_back({unsent_[stream].empty() ? -1 : fd, POLLOUT, 0});
    }
    const std::size_t first = polled.size();
    for (const Rank& rank : ranks_) {
      polled.push_back({rank.pidfd.get(), POLLIN, 0});
      polled.push_back({unsent_[0].size() < kMaxUnsent ? rank.out.get() : -1, POLLIN, 0});
      polled.push_back({unsent_[1].size() < kMaxUnsent ? rank.err.get() : -1, POLLIN, 0});
    }
    if (::poll(polled.data(), polled.size(), -1) < 0) continue;
    for (std::size_t i = 0; i < ranks_.size(); ++i) {
      if (polled[first + 3 * i + 1].revents != 0) read_output(i, 0, 1);
      if (polled[first + 3 * i + 2].revents != 0) read_output(i, 1, 1);
      if (polled[first + 3 * i].revents != 0) reap(i);
    }
    flush(0);
    flush(1);
    if (polled[0].revents != 0) return;
  }
}

bool Gang::alive() {
  const std::lock_guard lock(mutex_);
  return std::any_of(ranks_.begin(), ranks_.end(), [](const Rank& rank) { return rank.pid != 0; });
}

void Gang::read_output(std::size_t number, int stream, int rounds) {
  Rank& rank = ranks_[number];
  UniqueFd& fd = stream == 0 ? rank.out : rank.err;
  std::array<char, 65536> buffer;  // NOLINT: filled by read
  for (int round = 0; fd && round < rounds; ++round) {
    const ssize_t size = ::read(fd.get(), buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) {
      const std::string rest = rank.lines[stream].finish();
      if (!rest.empty()) take_lines(number, stream, {rest});
      fd.reset();
      return;
    }
    take_lines(number, stream,
               rank.lines[stream].push({buffer.data(), static_cast<std::size_t>(size)}));
  }
}

void Gang::take_lines(std::size_t number, int stream, const std::vector<std::string>& lines) {
  const std::lock_guard lock(mutex_);
  Rank& rank = ranks_[number];
  for (const auto& line : lines) {
    unsent_[stream] += "[rank " + std::to_string(number) + "] " + line + "\n";
    rank.tail += line + "\n";
  }
  if (rank.tail.size() > kTailBytes) {
    const std::size_t cut = rank.tail.find('\n', rank.tail.size() - kTailBytes);
    rank.tail.erase(0, cut == std::string::npos ? rank.tail.size() - kTailBytes : cut + 1);
  }
}

void Gang::flush(int stream) {
  std::string& text = unsent_[stream];
  while (!text.empty()) {
    const int fd = stream == 0 ? STDOUT_FILENO : STDERR_FILENO;
    const ssize_t size = ::write(fd, text.data(), text.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN) return;
    if (size < 0) return text.clear();  // nobody reads it any more
    text.erase(0, static_cast<std::size_t>(size));
  }
}

void Gang::reap(std::size_t number) {
  Rank& rank = ranks_[number];
  siginfo_t info{};
  const auto id = static_cast<id_t>(rank.pid);
  if (::waitid(P_PID, id, &info, WEXITED | WNOHANG) == 0 && info.si_pid == 0) return;
  // What it had written is in the pipe. A child of it may hold the pipe open: no waiting for that.
  for (const int stream : {0, 1}) {
    read_output(number, stream, kRounds);
    const std::string rest = rank.lines[stream].finish();
    if (!rest.empty()) take_lines(number, stream, {rest});
  }
  {
    const std::lock_guard lock(mutex_);
    rank.pid = 0;
    rank.pidfd.reset();
    GangEvent event;
    event.kind = GangEvent::Kind::kEnded;
    event.rank = number;
    event.code = info.si_code;
    event.status = info.si_status;
    ended_.push_back(std::move(event));
  }
  doorbell_.ring();
}

bool Gang::complete() {
  const std::lock_guard lock(mutex_);
  std::vector<pollfd> polled;
  for (const Rank& rank : ranks_) {
    if (rank.pid == 0) return false;
    polled.push_back({rank.pidfd.get(), POLLIN, 0});
  }
  return ::poll(polled.data(), polled.size(), 0) == 0;
}

void Gang::send(std::uint64_t call, RequestKind kind, const Payload& payload) {
  for (Rank& rank : ranks_) {
    if (rank.channel->full()) throw InternalError("[gang] a rank has not answered yet");
    rank.channel->send(call, kind, payload);
  }
}

GangEvent Gang::wait(sys::TimePoint deadline) {
  for (;;) {
    const std::uint32_t seen = doorbell_.count();
    // Deaths are looked at first but told last: a rank's last reply comes before its end.
    std::optional<GangEvent> ended;
    {
      const std::lock_guard lock(mutex_);
      if (!ended_.empty()) ended = std::move(ended_.front());
    }
    for (std::size_t i = 0; i < ranks_.size(); ++i) {
      if (auto reply = ranks_[i].channel->receive()) {
        GangEvent event;
        event.kind = GangEvent::Kind::kReply;
        event.rank = i;
        event.reply = std::move(*reply);
        return event;
      }
    }
    if (ended) {
      const std::lock_guard lock(mutex_);
      ended_.pop_front();
      return std::move(*ended);
    }
    if (doorbell_.spin(seen, kSpin)) continue;
    const auto now = sys::Clock::now();
    if (now >= deadline) return {};
    const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(deadline - now);
    if (!doorbell_.wait(seen, std::min<std::chrono::nanoseconds>(left, kSlice))) {
      GangEvent event;
      event.kind = GangEvent::Kind::kInterrupted;
      return event;
    }
  }
}

void Gang::cancel(std::uint64_t call) {
  for (Rank& rank : ranks_) rank.channel->cancel(call);
}

void Gang::signal(int signal) {
  const std::lock_guard lock(mutex_);
  for (const Rank& rank : ranks_) {
    if (rank.pid != 0) process::send_signal(rank.pidfd, signal);
  }
}

pid_t Gang::pid(std::size_t rank) {
  const std::lock_guard lock(mutex_);
  return ranks_.at(rank).pid;
}

std::string Gang::tail(std::size_t rank) {
  const std::lock_guard lock(mutex_);
  return ranks_.at(rank).tail;
}

void Gang::end() {
  signal(SIGKILL);
  if (!watcher_.joinable()) {
    for (Rank& rank : ranks_) {
      if (rank.pid != 0) ::waitpid(rank.pid, nullptr, 0);
      rank.pid = 0;
    }
    return;
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(stop_.get(), &one, sizeof(one));
  watcher_.join();
  for (const int stream : {0, 1}) {
    const int fd = stream == 0 ? STDOUT_FILENO : STDERR_FILENO;
    pollfd polled{fd, POLLOUT, 0};
    while (!unsent_[stream].empty() && ::poll(&polled, 1, 1000) > 0) flush(stream);
  }
}

}  // namespace ionian
