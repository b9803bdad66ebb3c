#include "exec/arena.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "base/fault.hpp"
#include "ionian/error.hpp"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace ionian {
namespace {

/// Returns whether a block lies inside a slab of `limit` bytes, its header before it. References
/// lie in memory that the peer can write to.
bool inside(const BlockRef& ref, std::size_t limit) {
  return ref.offset >= kBlockHeaderBytes && ref.offset % 64 == 0 && ref.offset <= limit &&
         ref.size <= limit - ref.offset;
}

#ifdef __SSE2__
constexpr std::size_t kStreamFrom = std::size_t{4} << 20;  // well past what a cache would keep
#endif

}  // namespace

Arena::Arena(std::span<std::byte> base, Announce announce)
    : base_(base), announce_(std::move(announce)) {}

Arena::Block Arena::allocate(std::size_t size) {
  FAULT("arena.allocate");
  const std::size_t whole = size + kBlockHeaderBytes;
  if (whole <= std::size_t{1} << kLargestShift) {
    const int shift = std::max(kSmallestShift, static_cast<int>(std::bit_width(whole - 1)));
    Block block = allocate_small(shift, size);
    if (block.data != nullptr) return block;
  }
  return allocate_slab(size);
}

Arena::Block Arena::allocate_small(int shift, std::size_t size) {
  auto& free = free_[static_cast<std::size_t>(shift)];
  if (free.empty()) sweep();
  std::uint64_t offset = 0;
  if (!free.empty()) {
    offset = free.back();
    free.pop_back();
  } else {
    if (bump_ + (std::size_t{1} << shift) > base_.size()) return {};
    offset = bump_;
    bump_ += std::size_t{1} << shift;
  }
  header(base_.data() + offset).released.store(0, std::memory_order_relaxed);
  in_use_.push_back({offset, shift});
  const std::uint64_t payload = offset + kBlockHeaderBytes;
  return {{0, payload, size}, base_.data() + payload};
}

Arena::Block Arena::allocate_slab(std::size_t size) {
  sweep();
  const std::size_t need = size + kBlockHeaderBytes;
  SlabPtr slab;
  std::size_t best = idle_slabs_.size();
  for (std::size_t i = 0; i < idle_slabs_.size(); ++i) {
    const std::size_t have = idle_slabs_[i]->bytes.size();
    if (have < need || have / 4 > need) continue;
    if (best == idle_slabs_.size() || have < idle_slabs_[best]->bytes.size()) best = i;
  }
  if (best < idle_slabs_.size()) {
    slab = idle_slabs_[best];
    idle_slabs_.erase(idle_slabs_.begin() + static_cast<std::ptrdiff_t>(best));
  } else {
    trim();
    // Two mebibytes at least and an eighth of slack: sizes that drift a little share one slab.
    const std::size_t granule = std::max(std::size_t{1} << 21, std::bit_floor(need) / 8);
    const std::size_t bytes = (need + granule - 1) / granule * granule;
    slab = std::make_shared<Slab>();
    slab->id = next_slab_++;
    slab->fd = sys::sealed_memory("ionian-slab", bytes);
    slab->mapping = sys::Mapping(slab->fd.get(), bytes);
    slab->bytes = {slab->mapping.data(), bytes};
    FAULT("arena.slab");
    announce_(*slab);
    slab->fd.reset();  // the two mappings keep the memory
    slab_bytes_ += bytes;
  }
  header(slab->bytes.data()).released.store(0, std::memory_order_relaxed);
  busy_slabs_.push_back(slab);
  return {{slab->id, kBlockHeaderBytes, size}, slab->bytes.data() + kBlockHeaderBytes};
}

void Arena::sweep() {
  std::erase_if(in_use_, [this](const Small& block) {
    if (header(base_.data() + block.offset).released.load(std::memory_order_acquire) == 0)
      return false;
    free_[static_cast<std::size_t>(block.shift)].push_back(block.offset);
    return true;
  });
  std::erase_if(busy_slabs_, [this](const SlabPtr& slab) {
    if (header(slab->bytes.data()).released.load(std::memory_order_acquire) == 0) return false;
    idle_slabs_.push_back(slab);
    return true;
  });
}

void Arena::trim() {
  while (slab_bytes_ > kKeepBytes && !idle_slabs_.empty()) {
    slab_bytes_ -= idle_slabs_.front()->bytes.size();
    idle_slabs_.front()->fd.reset();
    Slab dropped;
    dropped.id = idle_slabs_.front()->id;
    announce_(dropped);  // an announcement without a descriptor: the peer unmaps it
    idle_slabs_.erase(idle_slabs_.begin());
  }
}

void Arena::cancel(const BlockRef& ref) {
  const std::span<std::byte> block = bytes(ref);
  if (block.empty()) return;
  header(block.data() - kBlockHeaderBytes).released.store(1, std::memory_order_release);
}

std::span<std::byte> Arena::bytes(const BlockRef& ref) const {
  const auto part = [&](std::span<std::byte> all) {
    return inside(ref, all.size()) ? all.subspan(ref.offset, ref.size) : std::span<std::byte>();
  };
  if (ref.slab == 0) return part(base_);
  for (const auto& slab : busy_slabs_) {
    if (slab->id == ref.slab) return part(slab->bytes);
  }
  return {};
}

BlockView::BlockView(SlabPtr slab, const BlockRef& ref)
    : bytes_(slab->bytes.subspan(ref.offset, ref.size)) {
  auto* const header =
      reinterpret_cast<BlockHeader*>(slab->bytes.data() + ref.offset - kBlockHeaderBytes);
  release_ = std::shared_ptr<void>(header, [slab = std::move(slab)](void* block) {
    static_cast<BlockHeader*>(block)->released.store(1, std::memory_order_release);
  });
}

void SlabTable::add(std::uint32_t id, UniqueFd fd, std::uint64_t size) {
  sys::check_sealed(fd.get(), size);
  auto slab = std::make_shared<Slab>();
  slab->id = id;
  slab->mapping = sys::Mapping(fd.get(), size);
  slab->bytes = {slab->mapping.data(), size};
  slabs_[id] = std::move(slab);
}

BlockView SlabTable::view(const BlockRef& ref) const {
  const auto found = slabs_.find(ref.slab);
  if (found == slabs_.end()) {
    throw ExecutionError("[channel] peer named unknown slab " + std::to_string(ref.slab));
  }
  const std::size_t limit = found->second->bytes.size();
  if (!inside(ref, limit)) {
    throw ExecutionError("[channel] peer named a block outside its slab: offset " +
                         std::to_string(ref.offset) + ", size " + std::to_string(ref.size) +
                         ", slab of " + std::to_string(limit) + " bytes");
  }
  return {found->second, ref};
}

void copy_bytes(std::byte* to, const std::byte* from, std::size_t size) {
#ifdef __SSE2__
  if (size >= kStreamFrom && reinterpret_cast<std::uintptr_t>(to) % 16 == 0) {
    const std::size_t blocks = size / 64;
    for (std::size_t i = 0; i < blocks; ++i) {
      const auto* source = reinterpret_cast<const __m128i*>(from + i * 64);
      auto* target = reinterpret_cast<__m128i*>(to + i * 64);
      const __m128i a = _mm_loadu_si128(source);
      const __m128i b = _mm_loadu_si128(source + 1);
      const __m128i c = _mm_loadu_si128(source + 2);
      const __m128i d = _mm_loadu_si128(source + 3);
      _mm_stream_si128(target, a);
      _mm_stream_si128(target + 1, b);
      _mm_stream_si128(target + 2, c);
      _mm_stream_si128(target + 3, d);
    }
    _mm_sfence();
    std::memcpy(to + blocks * 64, from + blocks * 64, size - blocks * 64);
    return;
  }
#endif
  if (size != 0) std::memcpy(to, from, size);
}

}  // namespace ionian
