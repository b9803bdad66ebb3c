#include "gpu/watchdog.hpp"

#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

namespace ionian {
namespace {

using Clock = std::chrono::steady_clock;

/// Whose turn it is, in one process. Never freed: a thread left behind still writes to it.
struct Turn {
  std::mutex mutex;
  std::condition_variable changed;
  bool busy = false;
  bool given_up = false;  // busy, and its caller has stopped waiting
  Clock::time_point since;
  const pid_t process = ::getpid();
};

/// Returns the turn of this process. In a forked child the parent's may be locked for ever, so it
/// gets a new one.
Turn& this_process() {
  static std::atomic<Turn*> current{new Turn};
  Turn* turn = current.load();
  if (turn->process == ::getpid()) return *turn;
  auto fresh = std::make_unique<Turn>();
  if (current.compare_exchange_strong(turn, fresh.get())) return *fresh.release();
  return *turn;
}

std::string seconds(Clock::duration duration) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
  return ms < 1000 ? std::to_string(ms) + " ms" : std::to_string(ms / 1000) + " s";
}

std::string hangs(Clock::time_point since) {
  return "the NVIDIA driver has not answered for " + seconds(Clock::now() - since) +
         "; look for \"NVRM: Xid\" in the kernel log (dmesg), then reset the GPU or reboot";
}

}  // namespace

std::string run_watched(std::function<void()> work, std::chrono::milliseconds timeout) {
  Turn& turn = this_process();
  const auto deadline = Clock::now() + timeout;
  std::unique_lock lock(turn.mutex);
  const auto free_or_given_up = [&] { return !turn.busy || turn.given_up; };
  if (!turn.changed.wait_until(lock, deadline, free_or_given_up) || turn.busy) {
    return hangs(turn.since);
  }
  struct Outcome {
    bool done = false;
    std::string failure;
  };
  const auto outcome = std::make_shared<Outcome>();
  const auto guarded = [&turn, outcome, work = std::move(work)] {
    std::string failure;
    try {
      work();
    } catch (const std::exception& error) {
      failure = std::string("asking the NVIDIA driver failed: ") + error.what();
    }
    const std::scoped_lock inner(turn.mutex);
    outcome->done = true;
    outcome->failure = std::move(failure);
    turn.busy = turn.given_up = false;
    turn.changed.notify_all();
  };
  std::thread thread;
  try {
    thread = std::thread(guarded);
  } catch (const std::system_error& error) {
    return std::string("no thread to ask the NVIDIA driver in: ") + error.what();
  }
  turn.busy = true;
  turn.since = Clock::now();
  if (turn.changed.wait_until(lock, deadline, [&] { return outcome->done; })) {
    lock.unlock();
    thread.join();  // it has nothing left to do
    return outcome->failure;
  }
  thread.detach();
  turn.given_up = true;
  turn.changed.notify_all();
  return hangs(turn.since);
}

}  // namespace ionian
