#include "exec/arena.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "ionian/error.hpp"

namespace ionian {
namespace {

struct Peers {
  std::vector<std::byte> base = std::vector<std::byte>(std::size_t{1} << 20);
  SlabTable receiver;
  int announced = 0;
  int dropped = 0;
  Arena arena{base, [this](const Slab& slab) {
                if (slab.fd) {
                  ++announced;
                  receiver.add(slab.id, slab.fd.duplicate(), slab.bytes.size());
                } else {
                  ++dropped;
                  receiver.drop(slab.id);
                }
              }};
  Peers() {
    auto slab = std::make_shared<Slab>();
    slab->bytes = base;
    receiver.add(slab);
  }
};

TEST(Arena, Block_IsAlignedAndSeenByTheReceiver) {
  Peers peers;
  const auto block = peers.arena.allocate(1000);
  EXPECT_EQ(block.ref.offset % 64, 0U);
  std::memcpy(block.data, "hello", 5);
  const BlockView view = peers.receiver.view(block.ref);
  ASSERT_EQ(view.bytes().size(), 1000U);
  EXPECT_EQ(std::memcmp(view.bytes().data(), "hello", 5), 0);
}

TEST(Arena, Block_IsNotUsedAgainWhileAnyViewOfItLives) {
  Peers peers;
  const auto first = peers.arena.allocate(100);
  BlockView view = peers.receiver.view(first.ref);
  const BlockView copy = view;
  view = {};
  std::set<std::uint64_t> seen{first.ref.offset};
  for (int i = 0; i < 1000; ++i) {
    const auto next = peers.arena.allocate(100);
    EXPECT_TRUE(next.ref.slab != 0 || next.ref.offset != first.ref.offset);
    static_cast<void>(peers.receiver.view(next.ref));  // released at once
  }
}

TEST(Arena, ReleasedBlocks_AreUsedAgainInsteadOfNewMemory) {
  Peers peers;
  for (int i = 0; i < 100'000; ++i) {
    const auto block = peers.arena.allocate(3000);
    EXPECT_EQ(block.ref.slab, 0U);
    static_cast<void>(peers.receiver.view(block.ref));
  }
  EXPECT_EQ(peers.announced, 0);
}

TEST(Arena, LargeBlock_GetsASlabThatIsAnnouncedOnceAndUsedAgain) {
  Peers peers;
  for (int i = 0; i < 20; ++i) {
    const auto block = peers.arena.allocate((std::size_t{8} << 20) + static_cast<std::size_t>(i));
    EXPECT_NE(block.ref.slab, 0U);
    block.data[0] = std::byte{42};
    EXPECT_EQ(peers.receiver.view(block.ref).bytes()[0], std::byte{42});
  }
  EXPECT_EQ(peers.announced, 1);
}

TEST(Arena, IdleSlabs_AreDroppedBeforeTheyPileUp) {
  Peers peers;
  for (std::size_t i = 1; i <= 12; ++i) {  // sizes too far apart to share a slab
    const auto block = peers.arena.allocate((i % 2 == 0 ? i * 40 : 1200 + i * 300) << 20);
    static_cast<void>(peers.receiver.view(block.ref));
    if (peers.arena.slab_bytes() > (std::size_t{6} << 30)) FAIL() << "slabs pile up";
  }
  EXPECT_GT(peers.dropped, 0);
}

TEST(Arena, CancelledBlock_IsFreeAgain) {
  Peers peers;
  const auto first = peers.arena.allocate(100);
  peers.arena.cancel(first.ref);
  EXPECT_EQ(peers.arena.allocate(100).ref.offset, first.ref.offset);
}

TEST(SlabTable, BlockOutsideItsSlab_IsRefused) {
  Peers peers;
  const std::uint64_t size = peers.base.size();
  for (const BlockRef ref : {BlockRef{0, 0, 64}, BlockRef{0, 63, 1}, BlockRef{0, 64, size},
                             BlockRef{0, size, 1}, BlockRef{0, ~std::uint64_t{0} - 63, 64},
                             BlockRef{0, 64, ~std::uint64_t{0}}, BlockRef{9, 64, 1}}) {
    EXPECT_THROW(static_cast<void>(peers.receiver.view(ref)), ExecutionError)
        << ref.slab << " " << ref.offset << " " << ref.size;
  }
  EXPECT_NO_THROW(static_cast<void>(peers.receiver.view({0, 64, size - 64})));
}

TEST(CopyBytes, EveryLength_ArrivesWhole) {
  std::vector<std::byte> from((std::size_t{5} << 20) + 77);
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<std::byte>(i * 31 % 251);
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{63}, std::size_t{4} << 20, from.size()}) {
    std::vector<std::byte> to(size + 1, std::byte{0xee});
    copy_bytes(to.data(), from.data(), size);
    EXPECT_TRUE(
        std::equal(from.begin(), from.begin() + static_cast<std::ptrdiff_t>(size), to.begin()))
        << size;
    EXPECT_EQ(to[size], std::byte{0xee}) << size;
  }
}

}  // namespace
}  // namespace ionian
