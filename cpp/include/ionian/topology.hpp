// topology.hpp: how the GPUs of a machine are linked.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace ionian {

/// The link between two GPUs, worst first, so that `<` compares quality. Names follow nvidia-smi
/// topo.
enum class Link {
  kSystem,    // SYS: across the interconnect between NUMA nodes
  kNode,      // NODE: across host bridges of one NUMA node
  kHost,      // PHB: across one host bridge
  kMultiple,  // PXB: across several PCIe bridges
  kSingle,    // PIX: across one PCIe bridge
  kNvlink,    // NV#: NVLink
  kSelf,      // X: the same GPU
};
std::string_view to_string(Link link);  // "SYS", "NODE", "PHB", "PXB", "PIX", "NV", "X"

/// A symmetric matrix of links. Value type.
class Topology {
 public:
  Topology() = default;
  explicit Topology(std::size_t size, Link link = Link::kSystem);
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] Link link(std::size_t a, std::size_t b) const { return links_.at(a * size_ + b); }
  void set(std::size_t a, std::size_t b, Link link, int nvlinks = 0);
  /// Returns the number of NVLink links between the two, 0 if they are not linked by NVLink.
  [[nodiscard]] int nvlinks(std::size_t a, std::size_t b) const {
    return nvlinks_.at(a * size_ + b);
  }
  bool operator==(const Topology&) const = default;

 private:
  std::size_t size_ = 0;
  std::vector<Link> links_;
  std::vector<int> nvlinks_;
};

}  // namespace ionian
