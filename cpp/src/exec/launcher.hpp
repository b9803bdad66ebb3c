// launcher.hpp: the process that has imported the user's code once and forks a worker for each
// order.
//
// It must stay single-threaded: fork copies only the calling thread. It is the workers' parent, so
// it tells the guardian how each ended. When the guardian is gone it kills its workers, sweeps up
// what they started, and ends.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "exec/frame.hpp"
#include "exec/worker.hpp"

namespace ionian {

/// What a worker needs to begin; moved into the forked child.
struct WorkerOrder {
  std::uint32_t worker = 0;
  std::vector<std::string> env;  // "NAME=value", to be set before the user's code runs
  std::vector<std::uint32_t> cpus;
  WorkerFds fds;
  UniqueFd stdout_fd;
  UniqueFd stderr_fd;

  /// In the forked child: makes this process a session of its own, with its output and CPUs, and
  /// returns its channel. The order is empty afterwards.
  std::unique_ptr<Worker> become();
};

class Launcher {
 public:
  /// Numbers of the descriptors that the guardian passes.
  static constexpr int kSocketFd = 3;
  static constexpr int kDeathFd = 4;  // readable at its end once the guardian is gone

  Launcher();
  ~Launcher();
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;

  /// Waits for the setup that the caller sent; nullopt if the guardian is gone.
  std::optional<std::string> setup();
  void ready(bool forkable, const std::string& reason);
  void failed(const std::string& text);
  /// Waits for an order, reporting workers that end meanwhile. Returns nullopt when the launcher
  /// should end: everything it started is dead by then.
  std::optional<WorkerOrder> next();
  void forked(std::uint32_t worker, pid_t pid);
  /// The order could not be carried out.
  void refused(std::uint32_t worker, const std::string& why);
  /// In the forked child: forgets what belongs to the parent.
  void forget() noexcept;

 private:
  std::optional<Frame> wait_for_frame();
  void report_exits();
  void end_everything();

  FrameSocket socket_;
  UniqueFd death_;
  UniqueFd signals_;
  std::map<pid_t, std::uint32_t> workers_;
  std::string run_;
  std::array<char, 16> name_{};  // ours before we were a launcher
};

}  // namespace ionian
