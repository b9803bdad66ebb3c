// arena.hpp: blocks of shared memory for payloads, owned by the sender, released by the receiver.
//
// An arena is a list of slabs. Slab 0 lies inside the channel and serves small blocks by
// power-of-two size classes; a larger block gets a slab of its own, a sealed memfd that goes to the
// peer once by descriptor and is then used again, its pages already faulted in. All bookkeeping is
// in the sender's private memory except one word at the head of each block, which the receiver sets
// when its last view of the block dies. So a receiver that scribbles can spoil contents, never the
// allocator.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/syscall.hpp"

namespace ionian {

/// Shared memory mapped once and kept while any view lives.
struct Slab {
  std::uint32_t id = 0;
  UniqueFd fd;  // empty for slab 0 and on the receiving side
  sys::Mapping mapping;
  std::span<std::byte> bytes;
  std::shared_ptr<void> keepalive;  // slab 0: the channel it lies in
};
using SlabPtr = std::shared_ptr<Slab>;

/// Where a block is; what a descriptor carries. `offset` is that of the payload.
struct BlockRef {
  std::uint32_t slab = 0;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
};

inline constexpr std::size_t kBlockHeaderBytes = 64;  // keeps payloads on cache lines
struct BlockHeader {
  std::atomic<std::uint32_t> released;
};

/// The sender's side. Not thread-safe.
class Arena {
 public:
  using Announce = std::function<void(const Slab&)>;  // sends a new slab's descriptor to the peer

  /// `base` is slab 0; it must outlive the arena. `announce` is called before the first block of a
  /// new slab is returned, and may throw.
  Arena(std::span<std::byte> base, Announce announce);

  struct Block {
    BlockRef ref;
    std::byte* data = nullptr;
  };
  /// Returns a block of `size` bytes, aligned to 64. Throws ResourceExhaustedError.
  Block allocate(std::size_t size);
  /// Takes back a block that the peer will never see.
  void cancel(const BlockRef& ref);
  /// Returns the bytes of a block that is in use, empty if no slab has such a place.
  [[nodiscard]] std::span<std::byte> bytes(const BlockRef& ref) const;
  /// Returns the bytes of dedicated slabs held now.
  [[nodiscard]] std::size_t slab_bytes() const noexcept { return slab_bytes_; }

 private:
  static constexpr int kSmallestShift = 8;  // 256 B
  static constexpr int kLargestShift = 18;  // 256 KiB; larger blocks get a slab
  static constexpr std::size_t kKeepBytes = std::size_t{1}
                                            << 30;  // idle slabs kept for the next call
  struct Small {
    std::uint64_t offset;
    int shift;
  };

  Block allocate_small(int shift, std::size_t size);
  Block allocate_slab(std::size_t size);
  void sweep();
  void trim();
  [[nodiscard]] static BlockHeader& header(std::byte* block) {
    return *reinterpret_cast<BlockHeader*>(block);
  }

  std::span<std::byte> base_;
  Announce announce_;
  std::size_t bump_ = 0;
  std::array<std::vector<std::uint64_t>, kLargestShift + 1> free_;  // by shift
  std::vector<Small> in_use_;
  std::vector<SlabPtr> busy_slabs_;
  std::vector<SlabPtr> idle_slabs_;
  std::size_t slab_bytes_ = 0;
  std::uint32_t next_slab_ = 1;
};

/// A received block: keeps its slab mapped; tells the sender when the last copy dies. Thread-safe.
class BlockView {
 public:
  BlockView() = default;
  BlockView(SlabPtr slab, const BlockRef& ref);
  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }

 private:
  std::shared_ptr<void> release_;
  std::span<std::byte> bytes_;
};

/// The receiver's table of slabs. Not thread-safe.
class SlabTable {
 public:
  /// Maps a slab that the peer announced. Throws ExecutionError if it is not sealed or too small.
  void add(std::uint32_t id, UniqueFd fd, std::uint64_t size);
  void add(SlabPtr slab) { slabs_[slab->id] = std::move(slab); }
  void drop(std::uint32_t id) { slabs_.erase(id); }
  [[nodiscard]] bool contains(std::uint32_t id) const { return slabs_.count(id) != 0; }
  /// Returns the block. Throws ExecutionError if it does not lie inside a known slab.
  [[nodiscard]] BlockView view(const BlockRef& ref) const;

 private:
  std::unordered_map<std::uint32_t, SlabPtr> slabs_;
};

/// Copies with streaming stores where the block is too large to be of use in the cache.
void copy_bytes(std::byte* to, const std::byte* from, std::size_t size);

}  // namespace ionian
