// gang.hpp: the ranks of one worker: processes that it starts, one for each of its GPUs.
//
//   caller ── channel ──► leader ──┬── channel ──► rank 0
//                                  ├── channel ──► rank 1 …
//
// To everybody else a gang is one worker: the leader takes each call, hands it to every rank and
// answers once. Ranks are ordinary workers whose caller is the leader; they stay in its process
// group, so whatever ends the worker ends them. The leader runs no code of the user and never
// touches CUDA. A native thread watches what must not wait for the interpreter: the end of a rank,
// and what ranks print, which it passes on by whole lines with the rank in front.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "exec/channel.hpp"
#include "exec/line_buffer.hpp"
#include "exec/process.hpp"
#include "exec/worker.hpp"

namespace ionian {

/// What happened in a gang.
struct GangEvent {
  enum class Kind { kReply, kEnded, kDeadline, kInterrupted };
  Kind kind = Kind::kDeadline;
  std::size_t rank = 0;
  Received reply{};  // kReply
  int code = 0;      // kEnded: CLD_EXITED, CLD_KILLED or CLD_DUMPED …
  int status = 0;    // … and the exit code or signal
};

/// For the leader's main thread.
class Gang {
 public:
  /// `leader` must outlive the gang. No rank is started yet.
  Gang(Worker& leader, std::size_t ranks);
  /// Ends what is left of it.
  ~Gang();
  Gang(const Gang&) = delete;
  Gang& operator=(const Gang&) = delete;

  [[nodiscard]] std::size_t size() const noexcept { return ranks_.size(); }

  /// In a child that the leader just forked: lets go of everything that is not this rank's, and
  /// returns its channel. The gang is empty afterwards.
  std::unique_ptr<Worker> become(std::size_t rank);
  /// In the leader: the child of that rank.
  void forked(std::size_t rank, pid_t pid);
  /// Starts a rank as a program of its own, where forking is not safe; `setup` is what it reads
  /// from descriptor Worker::kSetupFd. Returns its pid.
  pid_t start_afresh(std::size_t rank, process::Program program, const std::string& setup);
  /// All ranks are started: watch them.
  void watch();

  /// Returns whether every rank lives now, also if the thread has not seen an end yet.
  [[nodiscard]] bool complete();
  /// Sends a request to every rank. Precondition: each has answered the one before.
  void send(std::uint64_t call, RequestKind kind, const Payload& payload);
  /// Waits for the next thing to happen. A rank's end comes after its last reply, once.
  GangEvent wait(sys::TimePoint deadline);
  /// Interrupts the body of `call` in every rank.
  void cancel(std::uint64_t call);
  /// Sends a signal to every rank that lives.
  void signal(int signal);
  /// Returns the pid of a rank, 0 if it has ended.
  [[nodiscard]] pid_t pid(std::size_t rank);
  /// Returns the last lines that a rank wrote.
  [[nodiscard]] std::string tail(std::size_t rank);
  /// Kills every rank, waits until each is gone, and passes on what they had written.
  void end();

 private:
  struct Rank {
    std::unique_ptr<CallerChannel> channel;
    UniqueFd out_writer;  // the rank's; until it is started
    UniqueFd err_writer;
    // Guarded by mutex_ once the thread runs.
    UniqueFd out;
    UniqueFd err;
    UniqueFd pidfd;
    pid_t pid = 0;
    LineBuffer lines[2];  // NOLINT: stdout and stderr
    std::string tail;
  };

  void started(Rank& rank, pid_t pid);
  void watch_loop();
  void read_output(std::size_t rank, int stream, int rounds);
  void reap(std::size_t rank);
  void take_lines(std::size_t rank, int stream, const std::vector<std::string>& lines);
  void flush(int stream);
  [[nodiscard]] bool alive();

  Worker& leader_;
  Doorbell doorbell_;
  std::vector<Rank> ranks_;
  std::mutex mutex_;
  std::deque<GangEvent> ended_;
  std::string unsent_[2];  // NOLINT: stdout and stderr; the thread's
  UniqueFd stop_;
  std::thread watcher_;
};

}  // namespace ionian
