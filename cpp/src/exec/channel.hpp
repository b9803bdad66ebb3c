// channel.hpp: what a caller and one worker share: two rings, two arenas and a socket.
//
//   caller                                             worker
//     send()  ── request ring ──►  claim: queued → taken → started  ──►  next(), started()
//     receive() ◄── reply ring ──  doorbell                        ◄──  reply()
//
// Each ring is single-producer single-consumer, of fixed descriptors on separate cache lines, head
// and tail on lines of their own, the peer's index cached. A payload of up to kInlineBytes lies in
// its descriptor; a larger one in a block of the sender's arena. The worker frees a request's slot
// after it has replied, so when it dies the caller reads in each slot how far that call had come:
// nothing else has to be reported. A request that is still `queued` can be revoked by the caller.
//
// Everything read from shared memory is copied once to private memory and checked before use.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "exec/arena.hpp"
#include "exec/doorbell.hpp"

namespace ionian {

/// How far a request has come; in shared memory, so it outlives the worker.
enum class Claim : std::uint32_t { kQueued, kTaken, kStarted, kRevoked };

/// What a request asks, and how a reply ended.
enum class RequestKind : std::uint32_t { kSetup, kCall, kShutdown };
/// kRefused: raised, and another attempt would be no use (a value that cannot be sent, a
/// cancellation).
enum class ReplyStatus : std::uint32_t { kReturned, kRaised, kRefused };

struct Payload {
  std::span<const std::byte> head;
  std::span<const std::span<const std::byte>> buffers;
};

/// A payload that outlives its sender's buffers.
struct OwnedPayload {
  std::vector<std::byte> head;
  std::vector<std::vector<std::byte>> buffers;
};

/// A message taken from a ring. The spans live as long as `block` (or this object, if inline).
struct Received {
  std::uint64_t call = 0;
  std::uint32_t code = 0;         // RequestKind or ReplyStatus
  std::uint64_t duration_ns = 0;  // replies: time in the body
  std::string inline_head;
  BlockView block;
  std::span<std::byte> block_head;
  std::vector<std::span<std::byte>> buffers;

  [[nodiscard]] std::span<const std::byte> head() const noexcept {
    if (block.bytes().data() != nullptr) return block_head;
    return std::as_bytes(std::span(inline_head));
  }
};

namespace channel {

inline constexpr std::uint32_t kSlots = 64;
inline constexpr std::size_t kInlineBytes = 80;
inline constexpr std::size_t kArenaBytes = std::size_t{512} << 10;  // per direction
inline constexpr std::uint32_t kMagic = 0x494f4e31;                 // "ION1"

struct DescriptorFields {
  std::uint64_t call;
  std::uint64_t offset;       // of the block's payload
  std::uint64_t size;         // of the block's payload
  std::uint64_t duration_ns;  // replies
  std::uint32_t code;
  std::uint32_t head_size;
  std::uint32_t buffers;
  std::uint32_t slab;  // kInline: the head lies in inline_bytes
};
inline constexpr std::uint32_t kInline = 0xffffffff;

struct alignas(128) Descriptor {
  DescriptorFields fields;
  std::array<std::byte, kInlineBytes - 4> inline_bytes;
  std::atomic<Claim> claim;  // requests only
};
static_assert(sizeof(Descriptor) == 128);

struct Ring {
  alignas(128) FutexWord tail;  // next to write; the producer's
  alignas(128) FutexWord head;  // next to read; the consumer's
  alignas(128) FutexWord sleeping;
  std::array<Descriptor, kSlots> slots;
};

struct Header {
  std::uint32_t magic;
  alignas(
      128) std::atomic<std::uint64_t> started_ns;   // the worker's: start of the current body, or 0
  alignas(128) std::atomic<std::uint32_t> spin_ns;  // the caller's: how long the worker may spin
  Ring requests;
  Ring replies;
};

inline constexpr std::size_t kInlineCapacity = kInlineBytes - 4;
inline constexpr std::size_t kArenaOffset = (sizeof(Header) + 4095) / 4096 * 4096;
inline constexpr std::size_t kBytes = kArenaOffset + 2 * kArenaBytes;

/// A small message on the channel's socket.
struct PeerMessage {
  enum Type : std::uint32_t { kSlab, kDropSlab, kCancel };
  std::uint32_t type = 0;
  std::uint32_t slab = 0;
  std::uint64_t value = 0;  // kSlab: bytes; kCancel: call
};
/// Sends one message, with `fd` if it is not -1. Returns false if the peer is gone.
bool send_peer(int socket, const PeerMessage& message, int fd);
/// Receives one message; nullopt if none is there now or the peer is gone (`closed` tells which).
/// Throws ResourceExhaustedError if there is no descriptor left for the one that came with it.
std::optional<PeerMessage> receive_peer(int socket, UniqueFd& fd, bool& closed);

/// CLOCK_MONOTONIC in nanoseconds: the same clock in every process.
std::uint64_t now_ns();

}  // namespace channel

/// The caller's end. Not thread-safe.
class CallerChannel {
 public:
  CallerChannel();
  CallerChannel(const CallerChannel&) = delete;  // the arena refers to the socket
  CallerChannel& operator=(const CallerChannel&) = delete;

  [[nodiscard]] int memory_fd() const noexcept { return memory_fd_.get(); }
  /// Returns the worker's end of the socket, to be passed on and then forgotten.
  [[nodiscard]] int worker_socket() const noexcept { return worker_socket_.get(); }
  /// Closes what only the worker needs. Call once it has been passed on.
  void handed_over() noexcept;

  [[nodiscard]] bool full() const noexcept;
  /// Publishes a request and wakes the worker. Returns its sequence number in the ring.
  /// Precondition: not full(). Throws ResourceExhaustedError if there is no memory for the payload.
  std::uint32_t send(std::uint64_t call, RequestKind kind, const Payload& payload);
  /// Returns the next reply, nullopt if there is none. Throws ExecutionError if the worker wrote
  /// something impossible.
  std::optional<Received> receive();
  [[nodiscard]] Claim claim(std::uint32_t sequence) const;
  /// Returns a request as it lies in the ring, to be sent again elsewhere. Precondition: not
  /// answered. Throws ExecutionError if the worker wrote over it.
  [[nodiscard]] OwnedPayload stored(std::uint32_t sequence) const;
  /// Takes back a request that the worker has not taken. Returns whether that was in time.
  bool revoke(std::uint32_t sequence);
  /// Asks the worker to interrupt `call` if it is the one it runs.
  void cancel(std::uint64_t call);
  /// Returns when the body now running began (channel::now_ns), 0 if none runs.
  [[nodiscard]] std::uint64_t started_ns() const;
  void set_spin(std::chrono::nanoseconds spin);

 private:
  [[nodiscard]] channel::Header& header() const noexcept;
  void receive_slabs();

  UniqueFd memory_fd_;
  SlabPtr memory_;
  UniqueFd socket_;
  UniqueFd worker_socket_;
  Arena arena_;
  SlabTable slabs_;
  /// Of the requests in the ring, whose own descriptors the worker can write to.
  std::array<channel::DescriptorFields, channel::kSlots> sent_{};
  std::uint32_t tail_ = 0;
  std::uint32_t reply_head_ = 0;
};

/// The worker's end. One thread calls next/started/reply; `on_peer_message` is for another thread.
class WorkerChannel {
 public:
  WorkerChannel(UniqueFd memory, UniqueFd doorbell, UniqueFd socket);

  /// Waits for a request; returns nullopt when a signal interrupted the wait.
  std::optional<Received> next();
  /// The request last taken: its arguments are there, the body is entered now.
  void started();
  /// Answers the request last taken and frees its slot.
  void reply(ReplyStatus status, const Payload& payload);

  [[nodiscard]] int socket() const noexcept { return socket_.get(); }
  /// Reads one message from the socket: new slabs are kept here. Returns the call to cancel, 0 if
  /// it was another message; `closed` is set when the caller is gone.
  std::uint64_t handle_peer_message(bool& closed);
  /// Returns the call that runs now, 0 if none. Thread-safe.
  [[nodiscard]] std::uint64_t current_call() const { return current_call_.load(); }
  /// In a forked child: leaves the socket to the parent, so that its end can be seen.
  void forget() noexcept { socket_.reset(); }

 private:
  [[nodiscard]] channel::Header& header() const noexcept;
  [[nodiscard]] channel::Descriptor& slot() const noexcept;
  Received read(const channel::DescriptorFields& fields, const std::byte* inline_bytes);

  SlabPtr memory_;
  Doorbell doorbell_;
  UniqueFd socket_;
  Arena arena_;
  std::mutex slabs_mutex_;
  std::condition_variable slabs_changed_;
  SlabTable slabs_;
  std::uint32_t head_ = 0;
  std::uint32_t reply_tail_ = 0;
  std::atomic<std::uint64_t> current_call_{0};
  int spins_in_vain_ = 0;
};

}  // namespace ionian
