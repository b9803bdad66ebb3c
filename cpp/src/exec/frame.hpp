// frame.hpp: length-prefixed messages over a Unix stream socket, with descriptors attached.
//
//   magic u32 · type u16 · descriptors u16 · body length u32 · body
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ionian/fd.hpp"

namespace ionian {

struct Frame {
  std::uint16_t type = 0;
  std::string body;
  std::vector<UniqueFd> fds;  // none if this process had too few left to take them all
};

/// Cuts a byte stream into frames, wherever the stream was cut before. Pure.
class FrameDecoder {
 public:
  static constexpr std::uint32_t kMagic = 0x314e4f49;  // "ION1"
  static constexpr std::size_t kHeaderBytes = 12;
  static constexpr std::uint32_t kMaxBody = 64U << 20;
  static constexpr std::size_t kMaxFds = 8;

  static std::string encode(std::uint16_t type, std::string_view body, std::size_t fds);

  void push(std::string_view bytes) { bytes_.append(bytes); }
  void push(UniqueFd fd) { fds_.emplace_back(std::move(fd)); }
  /// The other descriptors of the frame that is being received did not arrive.
  void lose_fds() { fds_.emplace_back(std::nullopt); }
  /// Returns the next whole frame, nullopt if more bytes are needed. Throws ExecutionError on bytes
  /// that cannot be a frame, or whose descriptors are missing; the stream is then of no further
  /// use.
  std::optional<Frame> next();

 private:
  std::string bytes_;
  std::size_t at_ = 0;
  std::deque<std::optional<UniqueFd>> fds_;  // nullopt: those after it, of the same frame, are lost
};

/// A socket that sends and receives frames without ever blocking. Not thread-safe.
class FrameSocket {
 public:
  FrameSocket() = default;
  /// Takes the socket and makes it non-blocking. Throws PermissionDeniedError if the other end is
  /// another user's.
  explicit FrameSocket(UniqueFd socket);

  [[nodiscard]] int fd() const noexcept { return socket_.get(); }
  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(socket_); }
  void close() noexcept { socket_.reset(); }

  /// Queues a frame and sends what the kernel takes; the descriptors are duplicated first.
  void send(std::uint16_t type, std::string_view body, const std::vector<int>& fds = {});
  /// Sends what is queued. Returns false once the peer is gone.
  bool flush();
  /// Returns the bytes that wait to be sent: poll for writing while this is not 0.
  [[nodiscard]] std::size_t unsent() const noexcept { return unsent_; }
  /// Reads what is there. Returns false at the end of the stream. Frames may still be in `next`.
  bool receive();
  std::optional<Frame> next() { return decoder_.next(); }

 private:
  struct Outgoing {
    std::string bytes;
    std::vector<UniqueFd> fds;
  };
  UniqueFd socket_;
  FrameDecoder decoder_;
  std::deque<Outgoing> outgoing_;
  std::size_t sent_of_first_ = 0;
  std::size_t unsent_ = 0;
};

}  // namespace ionian
