// worker.hpp: the far side of a channel, in the process that runs the user's function.
//
// The main thread takes calls and answers them. A second, native thread watches what must not wait
// for the interpreter: the end of the guardian or the caller (then this process and its group end
// at once), new slabs, and cancellations (it signals the main thread with SIGUSR1).
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>

#include "exec/channel.hpp"

namespace ionian {

struct WorkerFds {
  UniqueFd memory;
  UniqueFd doorbell;
  UniqueFd socket;
  UniqueFd death;
};

class Worker {
 public:
  /// Numbers of the descriptors in a worker that was started afresh instead of forked.
  static constexpr int kMemoryFd = 3;
  static constexpr int kDoorbellFd = 4;
  static constexpr int kSocketFd = 5;
  static constexpr int kDeathFd = 6;
  static constexpr int kSetupFd = 7;  // the launcher's setup, to its end

  explicit Worker(WorkerFds fds);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// Takes over the descriptors of a worker that was started afresh.
  static std::unique_ptr<Worker> from_inherited();

  WorkerChannel& channel() noexcept { return channel_; }
  /// Returns the descriptor that ends when the guardian does.
  [[nodiscard]] int death() const noexcept { return death_.get(); }
  /// In a forked child: closes what is the parent's. Its thread is not here, so the object must
  /// never be destroyed afterwards.
  void forget() noexcept;
  /// Returns whether the call that runs now was cancelled, and forgets it.
  bool take_cancellation();

 private:
  void watch();

  WorkerChannel channel_;
  UniqueFd death_;
  UniqueFd stop_;
  pthread_t main_thread_;
  std::atomic<std::uint64_t> cancelled_{0};
  std::thread watcher_;
};

}  // namespace ionian
