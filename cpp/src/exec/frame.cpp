#include "exec/frame.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/syscall.hpp"
#include "base/wire.hpp"
#include "ionian/error.hpp"

namespace ionian {
namespace {

std::uint32_t little(std::string_view bytes, std::size_t at, int width) {
  std::uint32_t value = 0;
  for (int i = width; i-- > 0;) {
    value = (value << 8) | static_cast<std::uint8_t>(bytes[at + static_cast<std::size_t>(i)]);
  }
  return value;
}

}  // namespace

std::string FrameDecoder::encode(std::uint16_t type, std::string_view body, std::size_t fds) {
  if (body.size() > kMaxBody || fds > kMaxFds) {
    throw ExecutionError("[frame] message of " + std::to_string(body.size()) + " bytes and " +
                         std::to_string(fds) + " descriptors is over the limit of 64 MiB and 8");
  }
  wire::Writer writer;
  writer.u32(kMagic);
  writer.u32(static_cast<std::uint32_t>(type) | static_cast<std::uint32_t>(fds) << 16);
  writer.u32(static_cast<std::uint32_t>(body.size()));
  std::string bytes = writer.take();
  bytes.append(body);
  return bytes;
}

std::optional<Frame> FrameDecoder::next() {
  const std::string_view rest = std::string_view(bytes_).substr(at_);
  if (rest.size() < kHeaderBytes) return std::nullopt;
  if (little(rest, 0, 4) != kMagic) {
    throw ExecutionError("[frame] the peer does not speak this protocol: wrong magic number");
  }
  const std::uint32_t size = little(rest, 8, 4);
  const std::size_t fds = little(rest, 6, 2);
  if (size > kMaxBody || fds > kMaxFds) {
    throw ExecutionError("[frame] the peer announced " + std::to_string(size) + " bytes and " +
                         std::to_string(fds) + " descriptors; the limits are 64 MiB and 8");
  }
  if (rest.size() - kHeaderBytes < size) return std::nullopt;
  std::size_t there = 0;
  while (there < std::min(fds, fds_.size()) && fds_[there]) ++there;
  const bool lost = there < std::min(fds, fds_.size());
  if (there < fds && !lost) throw ExecutionError("[frame] descriptors of a message are missing");
  Frame frame;
  frame.type = static_cast<std::uint16_t>(little(rest, 4, 2));
  frame.body = rest.substr(kHeaderBytes, size);
  for (std::size_t i = 0; i < there; ++i) {
    frame.fds.push_back(std::move(*fds_.front()));
    fds_.pop_front();
  }
  if (lost) {
    fds_.pop_front();
    frame.fds.clear();
  }
  at_ += kHeaderBytes + size;
  if (at_ == bytes_.size() || at_ > (std::size_t{1} << 20)) {
    bytes_.erase(0, at_);
    at_ = 0;
  }
  return frame;
}

FrameSocket::FrameSocket(UniqueFd socket) : socket_(std::move(socket)) {
  sys::check_peer(socket_.get());
  sys::set_nonblocking(socket_.get(), true);
}

void FrameSocket::send(std::uint16_t type, std::string_view body, const std::vector<int>& fds) {
  if (!socket_) return;
  Outgoing outgoing{FrameDecoder::encode(type, body, fds.size()), {}};
  for (const int fd : fds) {
    const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) throw_errno("duplicate a descriptor for sending", errno);
    outgoing.fds.emplace_back(copy);
  }
  unsent_ += outgoing.bytes.size();
  outgoing_.push_back(std::move(outgoing));
  flush();
}

bool FrameSocket::flush() {
  while (socket_ && !outgoing_.empty()) {
    Outgoing& first = outgoing_.front();
    iovec data{first.bytes.data() + sent_of_first_, first.bytes.size() - sent_of_first_};
    msghdr header{};
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * FrameDecoder::kMaxFds)> control{};
    if (!first.fds.empty()) {  // they travel with the first byte of their frame
      std::array<int, FrameDecoder::kMaxFds> raw{};
      for (std::size_t i = 0; i < first.fds.size(); ++i) raw[i] = first.fds[i].get();
      const std::size_t bytes = first.fds.size() * sizeof(int);
      header.msg_control = control.data();
      header.msg_controllen = CMSG_SPACE(bytes);
      cmsghdr* attached = CMSG_FIRSTHDR(&header);
      attached->cmsg_level = SOL_SOCKET;
      attached->cmsg_type = SCM_RIGHTS;
      attached->cmsg_len = CMSG_LEN(bytes);
      std::memcpy(CMSG_DATA(attached), raw.data(), bytes);
    }
    const ssize_t sent = ::sendmsg(socket_.get(), &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (errno == EINTR) continue;
      return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS;
    }
    first.fds.clear();
    sent_of_first_ += static_cast<std::size_t>(sent);
    unsent_ -= static_cast<std::size_t>(sent);
    if (sent_of_first_ == first.bytes.size()) {
      outgoing_.pop_front();
      sent_of_first_ = 0;
    }
  }
  return true;
}

bool FrameSocket::receive() {
  std::array<char, 65536> buffer;  // NOLINT: filled by recvmsg
  for (int rounds = 0; rounds < 16; ++rounds) {
    iovec data{buffer.data(), buffer.size()};
    msghdr header{};
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 64)> control{};
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    const ssize_t size = ::recvmsg(socket_.get(), &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return errno == EAGAIN || errno == EWOULDBLOCK;
    for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr;
         part = CMSG_NXTHDR(&header, part)) {
      if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
      const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (std::size_t i = 0; i < count; ++i) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(fd));
        decoder_.push(UniqueFd(fd));
      }
    }
    if (size == 0) return false;
    if ((header.msg_flags & MSG_CTRUNC) != 0) decoder_.lose_fds();
    decoder_.push(std::string_view(buffer.data(), static_cast<std::size_t>(size)));
    if (static_cast<std::size_t>(size) < buffer.size()) return true;
  }
  return true;
}

}  // namespace ionian
