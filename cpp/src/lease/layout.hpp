// layout.hpp: machines as the allocator sees them: groups of GPUs that are alike. Pure values.
//
// A *group* is the GPUs of one model on one host; a gang is always inside one. Groups with as many
// GPUs of the same model, linked the same way, are of one *kind*, so a thousand equal hosts have as
// many kinds as one of them, and a decision looks at kinds, not at hosts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "lease/machine.hpp"
#include "lease/policy.hpp"

namespace ionian::allocator {

struct Kind {
  std::string type;
  int preference = 0;                  // lower is given away first
  std::vector<std::uint32_t> offsets;  // of a group's GPUs from its host's first, ascending
  policy::Shape shape;
  std::uint32_t groups = 0;  // of this kind

  [[nodiscard]] std::size_t size() const noexcept { return offsets.size(); }  // of a group
};

struct Group {
  std::uint32_t kind = 0;
  std::uint32_t first = 0;  // the first GPU of its host
};

/// The GPUs of one or many hosts, by index, host after host: what of an allocator's state never
/// changes.
class Layout {
 public:
  /// `hosts` machines, all like `machine`.
  explicit Layout(const Machine& machine, std::size_t hosts = 1) { add(machine, hosts); }
  /// Adds hosts after those that there are. Throws InvalidError beyond 2³¹ GPUs.
  void add(const Machine& machine, std::size_t hosts);

  [[nodiscard]] std::size_t size() const noexcept { return group_of_.size(); }
  [[nodiscard]] const std::vector<Kind>& kinds() const noexcept { return kinds_; }
  [[nodiscard]] const std::vector<Group>& groups() const noexcept { return groups_; }
  [[nodiscard]] std::uint32_t group_of(std::size_t gpu) const { return group_of_[gpu]; }
  [[nodiscard]] const Kind& kind_of(std::size_t gpu) const {
    return kinds_[groups_[group_of_[gpu]].kind];
  }
  /// Returns about how much memory the GPUs take, without the kinds.
  [[nodiscard]] std::size_t bytes() const noexcept {
    return groups_.capacity() * sizeof(Group) + group_of_.capacity() * sizeof(std::uint32_t);
  }

 private:
  std::vector<Kind> kinds_;
  std::vector<Group> groups_;
  std::vector<std::uint32_t> group_of_;  // by GPU
};

}  // namespace ionian::allocator
