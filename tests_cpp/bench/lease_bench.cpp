// Leases over real locks and real processes: how soon a GPU is free after SIGKILL of its holder,
// how soon the next in line has it, and how soon a deadlock is an error. p50 and p99 are counters,
// in µs.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <string>
#include <vector>

#include "base/syscall.hpp"
#include "ionian/error.hpp"
#include "ionian/lease.hpp"
#include "support/machines.hpp"
#include "support/temporary_directory.hpp"

namespace ionian {
namespace {

using sys::Clock;

LeaseOwner me() { return this_process_as_owner("bench", "f", "run"); }

double since_us(sys::TimePoint begin) {
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

void report(benchmark::State& state, std::vector<double> samples) {
  if (samples.empty()) return;
  std::sort(samples.begin(), samples.end());
  state.counters["p50_us"] = samples[samples.size() / 2];
  state.counters["p99_us"] = samples[samples.size() * 99 / 100];
  state.counters["max_us"] = samples.back();
}

/// A process that holds the only GPU of the machine until it is killed.
class Holder {
 public:
  explicit Holder(const std::string& locks) {
    auto [read, write] = sys::pipe();
    pid_ = ::fork();
    if (pid_ == 0) {
      LeaseBook book(machines::one_a10g(), {locks, GpuMatch::kUpgrade, true});
      const Lease lease = book.acquire(GpuRequest::parse("any"), me());
      [[maybe_unused]] const ssize_t written = ::write(write.get(), "x", 1);
      for (;;) ::pause();
    }
    char byte = 0;
    [[maybe_unused]] const ssize_t got = ::read(read.get(), &byte, 1);
  }
  /// Returns when the signal was about to be sent.
  [[nodiscard]] sys::TimePoint kill() const {
    const auto begin = Clock::now();
    ::kill(pid_, SIGKILL);
    return begin;
  }
  void reap() const { ::waitpid(pid_, nullptr, 0); }

 private:
  pid_t pid_ = 0;
};

/// The lock itself: who blocks in flock gets it from the kernel.
void LockFreeAfterSigkill(benchmark::State& state) {
  const testing::TemporaryDirectory locks;
  const auto machine = machines::one_a10g();
  std::vector<double> samples;
  for (auto _ : state) {
    const Holder holder(locks.path());
    const UniqueFd file = sys::open(locks.path("gpu-" + machine.devices[0].uuid), O_RDONLY);
    const auto begin = holder.kill();
    while (::flock(file.get(), LOCK_EX) != 0) {
    }
    samples.push_back(since_us(begin));
    state.SetIterationTime(samples.back() / 1e6);
    holder.reap();
  }
  report(state, std::move(samples));
}
BENCHMARK(LockFreeAfterSigkill)->UseManualTime()->Unit(benchmark::kMicrosecond)->Iterations(400);

/// The whole way: the waiter sleeps in poll, wakes, decides, and has the lease.
void GrantedAfterSigkill(benchmark::State& state) {
  const testing::TemporaryDirectory locks;
  std::vector<double> samples;
  for (auto _ : state) {
    const Holder holder(locks.path());
    LeaseBook book(machines::one_a10g(), {locks.path(), GpuMatch::kUpgrade, true});
    auto waiter = book.request(GpuRequest::parse("any"), me());
    if (waiter.try_grant()) state.SkipWithError("the GPU was not held");
    book.drain_changes();
    const auto begin = holder.kill();
    while (!waiter.try_grant()) {
      pollfd polled{book.changes(), POLLIN, 0};
      ::poll(&polled, 1, static_cast<int>(waiter.retry_after().count()));
      book.drain_changes();
    }
    samples.push_back(since_us(begin));
    state.SetIterationTime(samples.back() / 1e6);
    holder.reap();
  }
  report(state, std::move(samples));
}
BENCHMARK(GrantedAfterSigkill)->UseManualTime()->Unit(benchmark::kMicrosecond)->Iterations(400);

/// Two runs whose nested calls need each other's GPU: from the second request to the error.
void DeadlockIsAnError(benchmark::State& state) {
  const testing::TemporaryDirectory locks;
  LeaseBook book(machines::workstation_2x4090(), {locks.path(), GpuMatch::kUpgrade, true});
  const auto any = GpuRequest::parse("any");
  const Lease one = book.acquire(any, me());
  const Lease two = book.acquire(any, me());
  const auto first = book.request(any, me(), {one.devices()[0].uuid});
  std::vector<double> samples;
  for (auto _ : state) {
    const auto begin = Clock::now();
    auto second = book.request(any, me(), {two.devices()[0].uuid});
    try {
      static_cast<void>(second.try_grant());
      state.SkipWithError("no deadlock was seen");
    } catch (const LeaseDeadlockError&) {
      samples.push_back(since_us(begin));
    }
    state.SetIterationTime(samples.empty() ? 0 : samples.back() / 1e6);
  }
  report(state, std::move(samples));
}
BENCHMARK(DeadlockIsAnError)->UseManualTime()->Unit(benchmark::kMicrosecond)->Iterations(1000);

/// One look of a waiter whose GPUs are held, and one that must read the queue, behind so many.
void Look(benchmark::State& state) {
  const bool reads_queue = state.range(1) != 0;
  const testing::TemporaryDirectory locks;
  LeaseBook book(machines::workstation_2x4090(), {locks.path(), GpuMatch::kUpgrade, true});
  const Lease held = book.acquire(GpuRequest::parse(reads_queue ? "any" : "any:2"), me());
  std::vector<LeaseWaiter> ahead;
  for (int i = 0; i < state.range(0); ++i)
    ahead.push_back(book.request(GpuRequest::parse("any:2"), me()));
  auto last = book.request(GpuRequest::parse("any"), me());
  for (auto _ : state) {
    if (last.try_grant()) state.SkipWithError("it passed those ahead");
  }
}
BENCHMARK(Look)
    ->ArgNames({"waiting", "free"})
    ->ArgsProduct({{1, 100, 900}, {0, 1}})
    ->Unit(benchmark::kMicrosecond)
    ->Iterations(200);

/// So many processes wait for one GPU; each takes it in its turn and ends. Counted: how long each
/// of them had to wait for the one before it.
void ServeProcesses(benchmark::State& state) {
  const testing::TemporaryDirectory locks;
  const auto any = GpuRequest::parse("any");
  const auto count = static_cast<std::size_t>(state.range(0));
  std::vector<double> samples;
  for (auto _ : state) {
    auto [read, write] = sys::pipe();
    const Holder holder(locks.path());  // its own process: children would inherit a lock of ours
    std::vector<pid_t> children;
    for (std::size_t i = 0; i < count; ++i) {
      const pid_t child = ::fork();
      if (child == 0) {
        LeaseBook mine(machines::one_a10g(), {locks.path(), GpuMatch::kUpgrade, true});
        const Lease lease = mine.acquire(any, me());
        [[maybe_unused]] const ssize_t written = ::write(write.get(), "x", 1);
        ::_exit(0);
      }
      children.push_back(child);
    }
    const LeaseBook book(machines::one_a10g(), {locks.path(), GpuMatch::kUpgrade, true});
    while (book.queue().size() < count) ::usleep(20'000);
    const auto begin = holder.kill();
    auto before = begin;
    for (std::size_t i = 0; i < count; ++i) {
      char byte = 0;
      if (::read(read.get(), &byte, 1) != 1) state.SkipWithError("a waiter ended without its turn");
      samples.push_back(since_us(before));
      before = Clock::now();
    }
    state.SetIterationTime(since_us(begin) / 1e6);
    holder.reap();
    for (const pid_t child : children) ::waitpid(child, nullptr, 0);
  }
  report(state, std::move(samples));
}
BENCHMARK(ServeProcesses)
    ->ArgName("waiting")
    ->Arg(10)
    ->Arg(100)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(1);

}  // namespace
}  // namespace ionian
