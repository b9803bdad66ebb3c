// What the kernel and the hardware charge, without any of our code: the least that a design pays.
//
// Every round trip is between two processes. Argument 0: spread over two cores; 1: both on one.
#include <benchmark/benchmark.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstring>
#include <functional>
#include <new>
#include <thread>

#include "base/futex.hpp"
#include "bench/pinning.hpp"
#include "exec/process.hpp"

namespace ionian {
namespace {

using bench::Pinning;

constexpr std::size_t kMessageBytes = 64;

/// A forked process that runs `answer` for ever, on the processor of the far side.
class Far {
 public:
  Far(const Pinning& pinning, const std::function<void()>& answer) : pid_(::fork()) {
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    bench::bind_to({pinning.other()});
    for (;;) answer();
  }
  ~Far() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Far(const Far&) = delete;
  Far& operator=(const Far&) = delete;

 private:
  pid_t pid_;
};

Pinning::Kind kind(const benchmark::State& state) {
  return static_cast<Pinning::Kind>(state.range(0));
}

void move(int fd, bool out) {
  std::array<char, kMessageBytes> data{};
  const ssize_t size =
      out ? ::write(fd, data.data(), data.size()) : ::read(fd, data.data(), data.size());
  if (size != static_cast<ssize_t>(data.size())) std::abort();
}

void PipeRoundTrip(benchmark::State& state) {
  const Pinning pinning(kind(state));
  std::array<int, 2> there{};
  std::array<int, 2> back{};
  if (::pipe(there.data()) != 0 || ::pipe(back.data()) != 0) return state.SkipWithError("no pipe");
  {
    const Far far(pinning, [&] {
      move(there[0], false);
      move(back[1], true);
    });
    for (auto _ : state) {
      move(there[1], true);
      move(back[0], false);
    }
  }
  for (const int fd : {there[0], there[1], back[0], back[1]}) ::close(fd);
}

void SocketRoundTrip(benchmark::State& state) {
  const Pinning pinning(kind(state));
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()) != 0)
    return state.SkipWithError("no socket");
  {
    const Far far(pinning, [&] {
      move(ends[1], false);
      move(ends[1], true);
    });
    for (auto _ : state) {
      move(ends[0], true);
      move(ends[0], false);
    }
  }
  for (const int fd : ends) ::close(fd);
}

struct Words {
  alignas(128) FutexWord there;
  alignas(128) FutexWord back;
};

class Shared {
 public:
  Shared()
      : memory_(::mmap(nullptr, sizeof(Words), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                       -1, 0)),
        words_(new (memory_) Words) {}
  ~Shared() { ::munmap(memory_, sizeof(Words)); }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  Words* operator->() const noexcept { return words_; }

 private:
  void* memory_;
  Words* words_;
};

void FutexRoundTrip(benchmark::State& state) {
  const Pinning pinning(kind(state));
  const Shared words;
  const auto wait_while = [](FutexWord& word, std::uint32_t seen) {
    while (word.load() == seen) futex_wait(word, seen, std::chrono::seconds(10));
  };
  std::uint32_t count = 0;
  const Far far(pinning, [&] {
    wait_while(words->there, count);
    words->back = ++count;
    futex_wake(words->back, 1);
  });
  for (auto _ : state) {
    words->there = count + 1;
    futex_wake(words->there, 1);
    wait_while(words->back, count);
    ++count;
  }
}

void SpinRoundTrip(benchmark::State& state) {
  const Pinning pinning(Pinning::kSpread);
  if (!pinning.spread()) return state.SkipWithError("needs two cores");
  const Shared words;
  std::uint32_t count = 0;
  const Far far(pinning, [&] {
    while (words->there.load(std::memory_order_acquire) == count) cpu_relax();
    words->back.store(++count, std::memory_order_release);
  });
  for (auto _ : state) {
    words->there.store(++count, std::memory_order_release);
    while (words->back.load(std::memory_order_acquire) != count) cpu_relax();
  }
}

void ForkAndWait(benchmark::State& state) {
  for (auto _ : state) {
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(0);
    ::waitpid(pid, nullptr, 0);
  }
}

/// From SIGKILL to a readable pidfd.
void KillSeenThroughPidfd(benchmark::State& state) {
  for (auto _ : state) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (;;) ::pause();
    }
    const UniqueFd pidfd = process::open_pidfd(pid);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));  // it sleeps by now
    const auto begin = std::chrono::steady_clock::now();
    process::send_signal(pidfd, SIGKILL);
    pollfd polled{pidfd.get(), POLLIN, 0};
    ::poll(&polled, 1, -1);
    state.SetIterationTime(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    ::waitpid(pid, nullptr, 0);
  }
}

BENCHMARK(PipeRoundTrip)->ArgName("one_core")->Arg(0)->Arg(1)->UseRealTime();
BENCHMARK(SocketRoundTrip)->ArgName("one_core")->Arg(0)->Arg(1)->UseRealTime();
BENCHMARK(FutexRoundTrip)->ArgName("one_core")->Arg(0)->Arg(1)->UseRealTime();
BENCHMARK(SpinRoundTrip)->UseRealTime();
BENCHMARK(ForkAndWait)->UseRealTime();
BENCHMARK(KillSeenThroughPidfd)->UseManualTime()->Iterations(300);

}  // namespace
}  // namespace ionian
