// id_map.hpp: numbers that others chose → places in our own tables. Open addressing, so that a
// decision allocates nothing; std::unordered_map allocates for each entry.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace ionian::allocator {

inline constexpr std::uint32_t kNone = 0xffffffff;

/// Keys are any numbers; values any but kNone.
class IdMap {
 public:
  /// Returns the value of `key`, kNone if there is none.
  [[nodiscard]] std::uint32_t find(std::uint64_t key) const { return cells_[at(key)].value; }

  /// Sets the value of `key`, whether it has one or not.
  void set(std::uint64_t key, std::uint32_t value) {
    Cell& cell = cells_[at(key)];
    const bool is_new = cell.value == kNone;
    cell = {key, value};
    if (is_new && ++size_ * 2 > cells_.size()) grow();
  }

  void erase(std::uint64_t key) {
    std::size_t hole = at(key);
    if (cells_[hole].value == kNone) return;
    --size_;
    // What stands behind moves up if it may, so that no search ends too early.
    const std::size_t mask = cells_.size() - 1;
    for (std::size_t next = (hole + 1) & mask; cells_[next].value != kNone;
         next = (next + 1) & mask) {
      if (((next - home(cells_[next].key)) & mask) < ((next - hole) & mask)) continue;
      cells_[hole] = cells_[next];
      hole = next;
    }
    cells_[hole].value = kNone;
  }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return cells_.capacity() * sizeof(Cell); }

 private:
  struct Cell {
    std::uint64_t key = 0;
    std::uint32_t value = kNone;
  };

  [[nodiscard]] std::size_t home(std::uint64_t key) const {
    return static_cast<std::size_t>((key * 0x9e3779b97f4a7c15U) >> shift_);
  }
  /// Returns where `key` is, else the free cell where it would be.
  [[nodiscard]] std::size_t at(std::uint64_t key) const {
    std::size_t i = home(key);
    while (cells_[i].value != kNone && cells_[i].key != key) i = (i + 1) & (cells_.size() - 1);
    return i;
  }
  void grow() {
    std::vector<Cell> old(cells_.size() * 2);
    std::swap(old, cells_);
    --shift_;
    for (const Cell& cell : old) {
      if (cell.value != kNone) cells_[at(cell.key)] = cell;
    }
  }

  std::vector<Cell> cells_ = std::vector<Cell>(16);
  int shift_ = 60;  // 64 - log2(cells)
  std::size_t size_ = 0;
};

}  // namespace ionian::allocator
