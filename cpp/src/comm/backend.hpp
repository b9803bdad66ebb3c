// backend.hpp: what a communicator can be made of. Arguments were checked before they come here.
#pragma once

#include <string>

#include "ionian/communicator.hpp"

namespace ionian {

/// One call, as a value: what ranks must agree on, and the arrays.
struct CommCall {
  enum class Kind : std::uint8_t {
    kAllReduce,
    kReduce,
    kBroadcast,
    kAllGather,
    kReduceScatter,
    kAllToAll,
    kSend,
    kRecv,
    kBarrier,
  };
  Kind kind = Kind::kBarrier;
  ReduceOp op = ReduceOp::kSum;
  int peer = 0;  // or root
  Array in;
  Array out;
  Communicator::Stream stream = nullptr;

  [[nodiscard]] bool between_two() const { return kind == Kind::kSend || kind == Kind::kRecv; }
  /// Returns e.g. "all_reduce(float32, 1024 elements, sum)".
  [[nodiscard]] std::string to_string() const;
};

class Communicator::Backend {
 public:
  Backend(int rank_, int world_size_, int device_)
      : rank(rank_), world_size(world_size_), device(device_) {}
  virtual ~Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  virtual void run(const CommCall& call) = 0;
  virtual void group_start() = 0;
  virtual void group_end() = 0;
  virtual std::shared_ptr<Backend> split(int color, int key) = 0;
  virtual void wait(Stream stream) = 0;
  virtual void abort() noexcept = 0;
  [[nodiscard]] virtual CommBackend kind() const noexcept = 0;

  const int rank;
  const int world_size;
  const int device;
};

/// Throws InvalidError unless the arrays of a call fit it and a communicator of that shape.
void check_call(const CommCall& call, const Communicator::Backend& backend);

// Ids begin with the back end's letter.
std::string nccl_unique_id();
std::shared_ptr<Communicator::Backend> join_nccl(const std::string& id, int rank, int world_size,
                                                 int device, const CommunicatorOptions& options);
std::string shared_memory_unique_id();
std::shared_ptr<Communicator::Backend> join_shared_memory(const std::string& id, int rank,
                                                          int world_size,
                                                          const CommunicatorOptions& options);

}  // namespace ionian
