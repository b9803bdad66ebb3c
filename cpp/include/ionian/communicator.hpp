// communicator.hpp: collectives between the GPUs of one call: NCCL on real GPUs, the same calls
// over shared memory on simulated ones.
//
// Every rank makes the same calls in the same order. On GPUs a call enqueues work on a stream and
// returns; `wait` says when it is done, or what went wrong. On the host a call returns when it is
// done. One communicator is for one thread at a time, but `abort` may come from any.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ionian/array.hpp"

extern "C" {
struct CUstream_st;
}

namespace ionian {

enum class ReduceOp : std::uint8_t { kSum, kProd, kMax, kMin, kAvg };
enum class CommBackend : std::uint8_t { kNccl, kSharedMemory };

/// Returns the name, e.g. "sum", "shared_memory".
[[nodiscard]] const char* to_string(ReduceOp op) noexcept;
[[nodiscard]] const char* to_string(CommBackend backend) noexcept;

struct CommunicatorOptions {
  /// How long any call may wait for the other ranks, joining included.
  std::chrono::milliseconds timeout{60'000};
  /// Asked about every 50 ms while a call waits; true ends it with TimeoutError. May throw.
  std::function<bool()> interrupted;
};

class Communicator {
 public:
  using Stream = CUstream_st*;  // CUstream, which is cudaStream_t too; nullptr: the default stream

  /// Returns what every rank of one communicator must be given, as bytes; make it once, in one
  /// process, and keep that process alive until all have joined. Throws NotFoundError if NCCL or
  /// the driver is not there.
  static std::string unique_id(CommBackend backend);

  /// Joins, and waits for all others. `device`: CUDA's number of the GPU, Array::kHost over shared
  /// memory. Throws InvalidError, NotFoundError, TimeoutError, CudaError, ConnectionError.
  Communicator(const std::string& unique_id, int rank, int world_size, int device,
               CommunicatorOptions options = {});
  ~Communicator();
  Communicator(Communicator&&) noexcept;
  Communicator& operator=(Communicator&&) noexcept;

  [[nodiscard]] int rank() const noexcept;
  [[nodiscard]] int world_size() const noexcept;
  [[nodiscard]] int device() const noexcept;
  [[nodiscard]] CommBackend backend() const noexcept;

  // Arrays are contiguous, of one type, and lie where the communicator is. `out` may be `in`.
  // Errors: InvalidError for arrays that do not fit; over shared memory also when ranks call
  // different things; TimeoutError; ConnectionError when a rank has ended; ExecutionError after
  // abort.

  /// out[i] = op over ranks of in[i]. Floating-point types of 16 bits and fewer are added up in
  /// float32 and rounded once, over shared memory always in the order of ranks; kAvg of integers
  /// is the sum divided by the world size, rounded towards zero.
  void all_reduce(const Array& in, const Array& out, ReduceOp op, Stream stream = nullptr);
  /// The same, in rank `root` only; `out` is not touched elsewhere.
  void reduce(const Array& in, const Array& out, ReduceOp op, int root, Stream stream = nullptr);
  /// Every rank's array becomes that of rank `root`.
  void broadcast(const Array& array, int root, Stream stream = nullptr);
  /// out = the `in` of rank 0, then of rank 1, …; in place where `in` is that part of `out`.
  void all_gather(const Array& in, const Array& out, Stream stream = nullptr);
  /// out = this rank's part of the reduction of `in`, which is world_size times as large; in place
  /// where `out` is that part of `in`.
  void reduce_scatter(const Array& in, const Array& out, ReduceOp op, Stream stream = nullptr);
  /// Part j of `in` goes to rank j, where it becomes part `rank`. Not in place.
  void all_to_all(const Array& in, const Array& out, Stream stream = nullptr);
  void send(const Array& array, int peer, Stream stream = nullptr);
  void recv(const Array& array, int peer, Stream stream = nullptr);
  /// Returns once every rank has called it and the work before it on `stream` is done.
  void barrier(Stream stream = nullptr);

  /// Calls between group_start and group_end are started together: the only way to send and
  /// receive both ways without one waiting for the other. Prefer CommunicatorGroup.
  void group_start();
  void group_end();

  /// Returns a communicator of the ranks that gave the same `color`, ordered by `key` and then by
  /// rank; nullopt where `color` is negative. Every rank must call it.
  [[nodiscard]] std::optional<Communicator> split(int color, int key);

  /// Waits until all work on `stream` is done. Throws TimeoutError, CudaError: the communicator is
  /// aborted then.
  void wait(Stream stream = nullptr);
  /// Ends every call that waits, here and where peers can see it. Idempotent, thread-safe.
  void abort() noexcept;

  class Backend;

 private:
  Communicator(std::shared_ptr<Backend> backend, CommunicatorOptions options);
  std::shared_ptr<Backend> backend_;
  CommunicatorOptions options_;
};

/// Groups the calls made while it lives.
class CommunicatorGroup {
 public:
  explicit CommunicatorGroup(Communicator& communicator)
      : communicator_(communicator), unwinding_(std::uncaught_exceptions()) {
    communicator_.group_start();
  }
  CommunicatorGroup(const CommunicatorGroup&) = delete;
  CommunicatorGroup& operator=(const CommunicatorGroup&) = delete;
  /// Starts what was called meanwhile. Throws as those calls would.
  ~CommunicatorGroup() noexcept(false) {
    if (std::uncaught_exceptions() == unwinding_) {
      communicator_.group_end();
      return;
    }
    try {
      communicator_.group_end();
    } catch (...) {  // another exception is on its way, which says more
    }
  }

 private:
  Communicator& communicator_;
  int unwinding_;
};

/// Returns a communicator for each of `devices` (CUDA's numbers; Array::kHost over shared memory)
/// in this process, by rank; each is for a thread of its own.
std::vector<Communicator> make_communicators(const std::vector<int>& devices, CommBackend backend,
                                             const CommunicatorOptions& options = {});

}  // namespace ionian
