// policy.hpp: which GPUs of those that are free. Pure: values in, a choice out.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "lease/machine.hpp"

namespace ionian::policy {

/// How some GPUs of one machine are linked, ready to be asked for sets of them. GPUs are meant by
/// their position in the list that it was made from. Immutable but for `remember`.
///
/// The set with the best worst link wins, then with the most bandwidth in all, then the one that
/// leaves the best linked rest, then the lowest positions. Up to kExactLimit free GPUs every set is
/// looked at; beyond, sets grow one best GPU at a time. Where all links are alike, as behind
/// NVSwitch, every set is as good as any other, so the lowest positions win at once.
class Shape {
 public:
  using Positions = std::vector<std::uint32_t>;

  Shape(const Topology& topology, const std::vector<std::size_t>& gpus);

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// Leaves the best `count` of `free` in it; both ascending. `count` is at most `free.size()`.
  void choose(Positions& free, std::size_t count) const;
  /// Answers every question once and keeps the answers: `choose` is then a look-up. Does nothing
  /// beyond kTableLimit GPUs.
  void remember();
  bool operator==(const Shape& other) const { return weights_ == other.weights_; }

  static constexpr std::size_t kTableLimit = 8;

 private:
  [[nodiscard]] int weight(std::size_t a, std::size_t b) const { return weights_[a * size_ + b]; }
  void choose_exactly(Positions& free, std::size_t count) const;
  void choose_greedily(Positions& free, std::size_t count) const;

  std::size_t size_;
  std::vector<int> weights_;  // size × size
  bool alike_ = true;         // all links
  /// By count, then by the set of the free ones: the set to take.
  using Table = std::array<std::array<std::uint8_t, 1U << kTableLimit>, kTableLimit + 1>;
  std::shared_ptr<const Table> table_;
};
inline constexpr std::size_t kExactLimit = 16;

/// Returns whether `alternative` fits a machine on which all of its GPUs are free.
bool possible(const Machine& machine, const Alternative& alternative);

/// Returns the GPUs to grant, ascending; nullopt if too few of one model are free. The model that
/// was asked for goes first, then the one that is cheapest to give away; within it, see Shape.
std::optional<std::vector<std::size_t>> choose(const Machine& machine,
                                               const Alternative& alternative,
                                               const std::vector<bool>& free);

}  // namespace ionian::policy
