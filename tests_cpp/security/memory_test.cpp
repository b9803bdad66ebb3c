// Memory of a peer: what could give SIGBUS is refused before it is mapped, and numbers that the
// peer writes into it while we read lead nowhere outside it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/syscall.hpp"
#include "comm/shared_memory.hpp"
#include "exec/channel.hpp"
#include "ionian/error.hpp"
#include "support/temporary_directory.hpp"

namespace ionian {
namespace {

constexpr std::size_t kSize = channel::kBytes;

UniqueFd memory_of(std::size_t size, int seals) {
  UniqueFd fd(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(size)), 0);
  EXPECT_TRUE(seals == 0 || ::fcntl(fd.get(), F_ADD_SEALS, seals) == 0);
  return fd;
}

struct BadMemory {
  std::string name;
  std::function<UniqueFd()> make;
};

/// Everything that is not a memfd of that size which can no longer shrink.
std::vector<BadMemory> bad_memory() {
  return {
      {"not sealed", [] { return memory_of(kSize, 0); }},
      {"sealed against growing only", [] { return memory_of(kSize, F_SEAL_GROW); }},
      {"one byte short", [] { return memory_of(kSize - 1, F_SEAL_SHRINK); }},
      {"empty", [] { return memory_of(0, F_SEAL_SHRINK); }},
      {"a file",
       [] {
         const testing::TemporaryDirectory directory;
         UniqueFd file = sys::open(directory.path("file"), O_RDWR | O_CREAT, 0600);
         EXPECT_EQ(::ftruncate(file.get(), kSize), 0);
         return file;
       }},
      {"a pipe", [] { return std::move(sys::pipe().first); }},
      {"nothing", [] { return UniqueFd(); }},
  };
}

TEST(PeerMemory, ThatCouldShrinkOrIsTooSmall_IsRefusedByEveryReader) {
  Doorbell doorbell;
  for (const BadMemory& bad : bad_memory()) {
    SCOPED_TRACE(bad.name);
    EXPECT_THROW(sys::check_sealed(bad.make().get(), kSize), ExecutionError);
    EXPECT_THROW(WorkerChannel(bad.make(), UniqueFd(::dup(doorbell.fd())), UniqueFd()),
                 ExecutionError);
    SlabTable slabs;
    EXPECT_THROW(slabs.add(1, bad.make(), kSize), ExecutionError);
    EXPECT_FALSE(slabs.contains(1));
    const UniqueFd fd = bad.make();
    if (!fd) continue;
    EXPECT_THROW(shared_memory::open_pages(::getpid(), fd.get(), kSize), Error);
  }
}

TEST(PeerMemory, OfASlab_IsAsLargeAsAnnouncedOrRefused) {
  for (const std::uint64_t size :
       {std::uint64_t{0}, std::uint64_t{kSize} + 1, std::uint64_t{1} << 31, std::uint64_t{1} << 32,
        std::uint64_t{1} << 63, UINT64_MAX}) {
    SlabTable slabs;
    EXPECT_THROW(slabs.add(1, memory_of(kSize, F_SEAL_SHRINK), size), Error) << size;
    EXPECT_FALSE(slabs.contains(1)) << size;
  }
}

TEST(PeerMemory, OnceMapped_CannotBeTakenAway) {
  const UniqueFd fd = sys::sealed_memory("test", kSize);
  const sys::Mapping mapping(fd.get(), kSize);
  EXPECT_NE(::ftruncate(fd.get(), 0), 0);
  EXPECT_NE(::ftruncate(fd.get(), kSize * 2), 0);
  EXPECT_NE(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE), 0) << "seals are final";
  mapping.data()[kSize - 1] = std::byte{1};  // no SIGBUS
}

TEST(PeerMemory, OfAnotherUser_IsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can make another user's memory";
  const UniqueFd fd = sys::sealed_memory("test", kSize);
  ASSERT_EQ(::fchown(fd.get(), 12345, 12345), 0);
  EXPECT_THROW(sys::check_sealed(fd.get(), kSize), PermissionDeniedError);
}

TEST(CommunicatorPages, ThatDoNotCarryTheKeyOfTheId_AreRefused) {
  std::string id = shared_memory::make_control();
  EXPECT_NO_THROW(shared_memory::open_control(id));
  std::string other = id;
  other[13] = static_cast<char>(other[13] ^ 1);  // the letter, pid and descriptor, then the key
  EXPECT_THROW(shared_memory::open_control(other), InvalidError);
  for (std::size_t size = 0; size < id.size(); ++size) {
    EXPECT_THROW(shared_memory::open_control(id.substr(0, size)), InvalidError) << size;
  }
  shared_memory::forget(id);
}

/// A channel whose shared memory the test writes to as a hostile peer could.
struct Scribbled {
  Doorbell doorbell;
  CallerChannel caller;
  WorkerChannel worker{UniqueFd(::dup(caller.memory_fd())), UniqueFd(::dup(doorbell.fd())),
                       UniqueFd(::dup(caller.worker_socket()))};
  sys::Mapping memory{caller.memory_fd(), channel::kBytes};
  std::uint32_t sent = 0;

  channel::Header& header() { return *reinterpret_cast<channel::Header*>(memory.data()); }
  channel::DescriptorFields& request() {
    return header().requests.slots[sent % channel::kSlots].fields;
  }
};

struct Scribble {
  std::string name;
  std::function<void(channel::DescriptorFields&)> write;
};

std::vector<Scribble> scribbles() {
  std::vector<Scribble> all;
  for (const std::uint64_t value :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{63}, std::uint64_t{64},
        std::uint64_t{channel::kArenaBytes}, std::uint64_t{channel::kArenaBytes} + 64,
        std::uint64_t{1} << 31, (std::uint64_t{1} << 32) - 1, std::uint64_t{1} << 32,
        std::uint64_t{1} << 63, UINT64_MAX - 63, UINT64_MAX}) {
    const auto small = static_cast<std::uint32_t>(value);
    const std::string text = std::to_string(value);
    all.push_back({"offset " + text, [=](auto& fields) { fields.offset = value; }});
    all.push_back({"size " + text, [=](auto& fields) { fields.size = value; }});
    all.push_back({"head " + text, [=](auto& fields) { fields.head_size = small; }});
    all.push_back({"buffers " + text, [=](auto& fields) { fields.buffers = small; }});
    all.push_back({"inline, head " + text, [=](auto& fields) {
                     fields.slab = channel::kInline;
                     fields.head_size = small;
                   }});
  }
  return all;
}

bool lies_in(std::span<const std::byte> part, std::span<const std::byte> whole) {
  return part.empty() ||
         (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

TEST(Channel, WhatAPeerWritesIntoADescriptor_NeverLeadsOutsideTheBlock) {
  Scribbled channel;
  const std::string head(300, 'h');
  const std::string buffer(500, 'b');
  const auto bytes = [](const std::string& text) { return std::as_bytes(std::span(text)); };
  const std::vector<std::span<const std::byte>> buffers{bytes(buffer)};
  const Payload payload{bytes(head), buffers};
  for (const Scribble& scribble : scribbles()) {
    SCOPED_TRACE(scribble.name);
    channel.sent = channel.caller.send(1, RequestKind::kCall, payload);
    scribble.write(channel.request());
    try {
      const auto request = channel.worker.next();
      ASSERT_TRUE(request);
      const auto block = request->block.bytes();
      EXPECT_TRUE(lies_in(request->block_head, block));
      for (const auto& each : request->buffers) EXPECT_TRUE(lies_in(each, block));
      EXPECT_LE(request->inline_head.size(), channel::kInlineCapacity);
    } catch (const ExecutionError&) {
      SUCCEED();  // refused
    }
    channel.worker.reply(ReplyStatus::kReturned, {});
    static_cast<void>(channel.caller.receive());
  }
}

TEST(Channel, WhatAWorkerWritesIntoARequestOfItsCaller_DoesNotHarmTheCaller) {
  // For a retry the caller reads its own request again, from memory that the worker can write to.
  const std::string head(300, 'h');
  const auto bytes = [](const std::string& text) { return std::as_bytes(std::span(text)); };
  for (const Scribble& scribble : scribbles()) {
    SCOPED_TRACE(scribble.name);
    Scribbled channel;
    channel.sent = channel.caller.send(1, RequestKind::kCall, {bytes(head), {}});
    scribble.write(channel.request());
    try {
      const OwnedPayload payload = channel.caller.stored(channel.sent);
      EXPECT_LE(payload.head.size(), channel::kArenaBytes);
    } catch (const ExecutionError&) {
      SUCCEED();
    }
    EXPECT_TRUE(channel.caller.revoke(channel.sent));
  }
}

TEST(Channel, MoreRepliesThanTheRingHolds_AreRefused) {
  Scribbled channel;
  channel.header().replies.tail = channel::kSlots + 1;
  EXPECT_THROW(static_cast<void>(channel.caller.receive()), ExecutionError);
}

}  // namespace
}  // namespace ionian
