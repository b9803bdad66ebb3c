#include "exec/channel.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <thread>

#include "base/fault.hpp"
#include "ionian/error.hpp"

namespace ionian {

using channel::Descriptor;
using channel::DescriptorFields;
using channel::Header;
using channel::kSlots;
using channel::PeerMessage;

namespace channel {

bool send_peer(int socket, const PeerMessage& message, int fd) {
  iovec data{const_cast<PeerMessage*>(&message), sizeof(message)};
  msghdr header{};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  if (fd >= 0) {
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
    cmsghdr* attached = CMSG_FIRSTHDR(&header);
    attached->cmsg_level = SOL_SOCKET;
    attached->cmsg_type = SCM_RIGHTS;
    attached->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(attached), &fd, sizeof(fd));
  }
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(socket, &header, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(sizeof(message));
}

std::optional<PeerMessage> receive_peer(int socket, UniqueFd& fd, bool& closed) {
  PeerMessage message;
  iovec data{&message, sizeof(message)};
  msghdr header{};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))] = {};
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  ssize_t size = 0;
  do {
    size = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (size < 0 && errno == EINTR);
  closed = size == 0 || (size < 0 && errno != EAGAIN && errno != EWOULDBLOCK);
  if (size <= 0) return std::nullopt;
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int received = -1;
      std::memcpy(&received, CMSG_DATA(part) + i * sizeof(int), sizeof(received));
      fd = UniqueFd(received);
    }
  }
  if ((header.msg_flags & MSG_CTRUNC) != 0) {
    throw ResourceExhaustedError(
        "[channel] no file descriptor is left for shared memory of the other process; raise the "
        "limit (ulimit -n) or close files");
  }
  if (size != static_cast<ssize_t>(sizeof(message))) return std::nullopt;
  return message;
}

std::uint64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
         static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace channel

namespace {

SlabPtr map_memory(int fd) {
  sys::check_sealed(fd, channel::kBytes);
  auto slab = std::make_shared<Slab>();
  slab->mapping = sys::Mapping(fd, channel::kBytes);
  slab->bytes = {slab->mapping.data(), channel::kBytes};
  return slab;
}

/// Slab 0 as the peer's descriptors mean it: the arena part alone.
SlabPtr arena_part(const SlabPtr& memory, std::size_t which) {
  auto slab = std::make_shared<Slab>();
  slab->bytes = memory->bytes.subspan(channel::kArenaOffset + which * channel::kArenaBytes,
                                      channel::kArenaBytes);
  slab->keepalive = memory;
  return slab;
}

Arena::Announce announce_on(const UniqueFd& socket) {
  return [&socket](const Slab& slab) {
    const PeerMessage message{slab.fd ? PeerMessage::kSlab : PeerMessage::kDropSlab, slab.id,
                              slab.bytes.size()};
    if (!channel::send_peer(socket.get(), message, slab.fd.get())) {
      throw ConnectionError("[channel] the other process is gone");
    }
  };
}

/// Puts the payload into the descriptor or into one block of the arena:
/// sizes of the buffers (8 bytes each), head, then each buffer on a 64-byte boundary.
void place(Arena& arena, const Payload& payload, DescriptorFields& fields,
           std::byte* inline_bytes) {
  fields.head_size = static_cast<std::uint32_t>(payload.head.size());
  fields.buffers = static_cast<std::uint32_t>(payload.buffers.size());
  if (payload.head.size() > UINT32_MAX) {
    throw ResourceExhaustedError(
        "[channel] pickle stream of " + std::to_string(payload.head.size()) +
        " bytes; the limit is 4 GiB: pass arrays, which travel out of band");
  }
  if (payload.buffers.empty() && payload.head.size() <= channel::kInlineCapacity) {
    fields.slab = channel::kInline;
    fields.offset = fields.size = 0;
    if (!payload.head.empty()) std::memcpy(inline_bytes, payload.head.data(), payload.head.size());
    return;
  }
  const auto align = [](std::size_t size) { return (size + 63) / 64 * 64; };
  std::size_t size = align(payload.buffers.size() * 8 + payload.head.size());
  for (const auto& buffer : payload.buffers) size += align(buffer.size());
  const Arena::Block block = arena.allocate(size);
  std::byte* at = block.data;
  for (const auto& buffer : payload.buffers) {
    const std::uint64_t bytes = buffer.size();
    std::memcpy(at, &bytes, sizeof(bytes));
    at += sizeof(bytes);
  }
  if (!payload.head.empty()) std::memcpy(at, payload.head.data(), payload.head.size());
  at = block.data + align(payload.buffers.size() * 8 + payload.head.size());
  for (const auto& buffer : payload.buffers) {
    copy_bytes(at, buffer.data(), buffer.size());
    at += align(buffer.size());
  }
  fields.slab = block.ref.slab;
  fields.offset = block.ref.offset;
  fields.size = block.ref.size;
}

/// Returns a private copy of what the peer can change at any moment. The fence keeps the compiler
/// from reading the shared original again after the copy was checked.
DescriptorFields copy_once(const DescriptorFields& shared) {
  const DescriptorFields copy = shared;
  std::atomic_signal_fence(std::memory_order_acq_rel);
  return copy;
}

/// The reverse of `place` for a block, distrusting every number.
void unpack_block(const DescriptorFields& fields, std::span<std::byte> bytes, Received& received) {
  const auto align = [](std::uint64_t size) { return (size + 63) / 64 * 64; };
  const std::uint64_t table = std::uint64_t{fields.buffers} * 8;
  std::uint64_t at = table + fields.head_size;
  if (at > bytes.size()) throw ExecutionError("[channel] message head is longer than its block");
  received.block_head = bytes.subspan(table, fields.head_size);
  at = align(at);
  received.buffers.reserve(fields.buffers);
  for (std::uint32_t i = 0; i < fields.buffers; ++i) {
    std::uint64_t size = 0;
    std::memcpy(&size, bytes.data() + std::size_t{i} * 8, sizeof(size));
    std::atomic_signal_fence(std::memory_order_acq_rel);  // as in copy_once
    if (at > bytes.size() || size > bytes.size() - at) {
      throw ExecutionError("[channel] buffer " + std::to_string(i) + " is longer than its block");
    }
    received.buffers.push_back(bytes.subspan(at, size));
    at += align(size);
  }
}

std::string unpack_inline(const DescriptorFields& fields, const std::byte* inline_bytes) {
  const std::size_t size = std::min<std::size_t>(fields.head_size, channel::kInlineCapacity);
  return {reinterpret_cast<const char*>(inline_bytes), size};
}

Received unpack(const SlabTable& slabs, const DescriptorFields& fields,
                const std::byte* inline_bytes) {
  Received received;
  received.call = fields.call;
  received.code = fields.code;
  received.duration_ns = fields.duration_ns;
  if (fields.slab == channel::kInline) {
    received.inline_head = unpack_inline(fields, inline_bytes);
  } else {
    received.block = slabs.view({fields.slab, fields.offset, fields.size});
    unpack_block(fields, received.block.bytes(), received);
  }
  return received;
}

}  // namespace

CallerChannel::CallerChannel()
    : memory_fd_(sys::sealed_memory("ionian-channel", channel::kBytes)),
      memory_(map_memory(memory_fd_.get())),
      arena_(memory_->bytes.subspan(channel::kArenaOffset, channel::kArenaBytes),
             announce_on(socket_)) {
  FAULT("channel.make");
  auto [mine, theirs] = sys::packet_socket_pair();
  socket_ = std::move(mine);
  worker_socket_ = std::move(theirs);
  header().magic = channel::kMagic;
  slabs_.add(arena_part(memory_, 1));
}

void CallerChannel::handed_over() noexcept {
  memory_fd_.reset();
  worker_socket_.reset();
}

Header& CallerChannel::header() const noexcept {
  return *reinterpret_cast<Header*>(memory_->bytes.data());
}

bool CallerChannel::full() const noexcept {
  return tail_ - header().requests.head.load(std::memory_order_acquire) >= kSlots;
}

std::uint32_t CallerChannel::send(std::uint64_t call, RequestKind kind, const Payload& payload) {
  FAULT("channel.send");
  channel::Ring& ring = header().requests;
  Descriptor& slot = ring.slots[tail_ % kSlots];
  DescriptorFields fields{};
  fields.call = call;
  fields.code = static_cast<std::uint32_t>(kind);
  place(arena_, payload, fields, slot.inline_bytes.data());
  slot.fields = sent_[tail_ % kSlots] = fields;
  slot.claim.store(Claim::kQueued, std::memory_order_relaxed);
  ring.tail.store(++tail_, std::memory_order_seq_cst);
  FAULT("channel.sent");
  if (ring.sleeping.load(std::memory_order_seq_cst) != 0) {
    ring.sleeping.store(0, std::memory_order_relaxed);
    futex_wake(ring.sleeping, 1);
  }
  return tail_ - 1;
}

std::optional<Received> CallerChannel::receive() {
  channel::Ring& ring = header().replies;
  const std::uint32_t waiting = ring.tail.load(std::memory_order_acquire) - reply_head_;
  if (waiting == 0) return std::nullopt;
  if (waiting > kSlots) throw ExecutionError("[channel] the worker claims more replies than fit");
  const Descriptor& slot = ring.slots[reply_head_ % kSlots];
  FAULT("channel.receive");
  const DescriptorFields fields = copy_once(slot.fields);
  if (fields.slab != channel::kInline && !slabs_.contains(fields.slab)) receive_slabs();
  Received received = unpack(slabs_, fields, slot.inline_bytes.data());
  ring.head.store(++reply_head_, std::memory_order_release);
  return received;
}

void CallerChannel::receive_slabs() {
  // A slab is announced before the first reply that uses it, so its message is in the socket
  // already.
  bool closed = false;
  for (;;) {
    UniqueFd fd;
    const auto message = channel::receive_peer(socket_.get(), fd, closed);
    if (!message) return;
    if (message->type == PeerMessage::kSlab)
      slabs_.add(message->slab, std::move(fd), message->value);
    if (message->type == PeerMessage::kDropSlab) slabs_.drop(message->slab);
  }
}

Claim CallerChannel::claim(std::uint32_t sequence) const {
  return header().requests.slots[sequence % kSlots].claim.load(std::memory_order_acquire);
}

OwnedPayload CallerChannel::stored(std::uint32_t sequence) const {
  const Descriptor& slot = header().requests.slots[sequence % kSlots];
  const DescriptorFields& fields = sent_[sequence % kSlots];
  OwnedPayload payload;
  if (fields.slab == channel::kInline) {
    const std::string head = unpack_inline(fields, slot.inline_bytes.data());
    const auto bytes = std::as_bytes(std::span(head));
    payload.head.assign(bytes.begin(), bytes.end());
    return payload;
  }
  Received received;
  unpack_block(fields, arena_.bytes({fields.slab, fields.offset, fields.size}), received);
  payload.head.assign(received.block_head.begin(), received.block_head.end());
  for (const auto& buffer : received.buffers)
    payload.buffers.emplace_back(buffer.begin(), buffer.end());
  return payload;
}

bool CallerChannel::revoke(std::uint32_t sequence) {
  Descriptor& slot = header().requests.slots[sequence % kSlots];
  Claim expected = Claim::kQueued;
  if (!slot.claim.compare_exchange_strong(expected, Claim::kRevoked)) return false;
  const DescriptorFields& fields = sent_[sequence % kSlots];
  if (fields.slab != channel::kInline) arena_.cancel({fields.slab, fields.offset, fields.size});
  return true;
}

void CallerChannel::cancel(std::uint64_t call) {
  channel::send_peer(socket_.get(), {PeerMessage::kCancel, 0, call}, -1);
}

std::uint64_t CallerChannel::started_ns() const { return header().started_ns.load(); }

void CallerChannel::set_spin(std::chrono::nanoseconds spin) {
  header().spin_ns.store(static_cast<std::uint32_t>(spin.count()), std::memory_order_relaxed);
}

WorkerChannel::WorkerChannel(UniqueFd memory, UniqueFd doorbell, UniqueFd socket)
    : memory_(map_memory(memory.get())),
      doorbell_(doorbell.get()),
      socket_(std::move(socket)),
      arena_(memory_->bytes.subspan(channel::kArenaOffset + channel::kArenaBytes,
                                    channel::kArenaBytes),
             announce_on(socket_)) {
  if (header().magic != channel::kMagic) {
    throw VersionError("[channel] caller and worker are of different versions of ionian");
  }
  slabs_.add(arena_part(memory_, 0));
}

Header& WorkerChannel::header() const noexcept {
  return *reinterpret_cast<Header*>(memory_->bytes.data());
}

Descriptor& WorkerChannel::slot() const noexcept { return header().requests.slots[head_ % kSlots]; }

std::optional<Received> WorkerChannel::next() {
  channel::Ring& ring = header().requests;
  for (;;) {
    const auto empty = [&] { return ring.tail.load(std::memory_order_acquire) == head_; };
    if (empty()) {
      // Spinning pays only while calls follow each other closely: after some spins in vain, only
      // one wait in sixteen tries it again.
      const std::uint32_t spin_ns = header().spin_ns.load(std::memory_order_relaxed);
      const bool spin = spin_ns != 0 && (spins_in_vain_ < 8 || spins_in_vain_ % 16 == 0);
      const std::uint64_t until = spin ? channel::now_ns() + spin_ns : 0;
      while (empty() && spin && channel::now_ns() < until) {
        for (int i = 0; i < 32 && empty(); ++i) cpu_relax();
      }
      if (empty()) {
        ++spins_in_vain_;
        ring.sleeping.store(1, std::memory_order_seq_cst);
        if (ring.tail.load(std::memory_order_seq_cst) == head_) {
          futex_wait(ring.sleeping, 1, std::chrono::hours(1));
        }
        ring.sleeping.store(0, std::memory_order_relaxed);
        if (empty()) return std::nullopt;
      } else {
        spins_in_vain_ = 0;
      }
    }
    Claim expected = Claim::kQueued;
    if (!slot().claim.compare_exchange_strong(expected, Claim::kTaken)) {
      ring.head.store(++head_, std::memory_order_release);  // revoked
      continue;
    }
    const DescriptorFields fields = copy_once(slot().fields);
    current_call_.store(fields.call);
    FAULT("channel.taken");
    return read(fields, slot().inline_bytes.data());
  }
}

Received WorkerChannel::read(const DescriptorFields& fields, const std::byte* inline_bytes) {
  std::unique_lock lock(slabs_mutex_);
  // The other thread may not have seen the slab's announcement yet; it was sent before the request.
  slabs_changed_.wait_for(lock, std::chrono::seconds(10), [&] {
    return fields.slab == channel::kInline || slabs_.contains(fields.slab);
  });
  return unpack(slabs_, fields, inline_bytes);
}

void WorkerChannel::started() {
  FAULT("channel.start");
  header().started_ns.store(channel::now_ns(), std::memory_order_relaxed);
  slot().claim.store(Claim::kStarted, std::memory_order_release);
  FAULT("channel.started");
}

void WorkerChannel::reply(ReplyStatus status, const Payload& payload) {
  FAULT("channel.reply");
  channel::Ring& ring = header().replies;
  Descriptor& answer = ring.slots[reply_tail_ % kSlots];
  DescriptorFields fields{};
  fields.call = slot().fields.call;
  fields.code = static_cast<std::uint32_t>(status);
  const std::uint64_t started = header().started_ns.load(std::memory_order_relaxed);
  fields.duration_ns = started == 0 ? 0 : channel::now_ns() - started;
  place(arena_, payload, fields, answer.inline_bytes.data());
  answer.fields = fields;
  header().started_ns.store(0, std::memory_order_relaxed);
  current_call_.store(0);
  // The reply first, the slot's release second: a death in between must not let the slot be used
  // again while its call has no answer.
  ring.tail.store(++reply_tail_, std::memory_order_release);
  FAULT("channel.replied");
  header().requests.head.store(++head_, std::memory_order_release);
  doorbell_.ring();
}

std::uint64_t WorkerChannel::handle_peer_message(bool& closed) {
  UniqueFd fd;
  const auto message = channel::receive_peer(socket_.get(), fd, closed);
  if (!message) return 0;
  if (message->type == PeerMessage::kCancel) return message->value;
  const std::lock_guard lock(slabs_mutex_);
  if (message->type == PeerMessage::kSlab) slabs_.add(message->slab, std::move(fd), message->value);
  if (message->type == PeerMessage::kDropSlab) slabs_.drop(message->slab);
  slabs_changed_.notify_all();
  return 0;
}

}  // namespace ionian
