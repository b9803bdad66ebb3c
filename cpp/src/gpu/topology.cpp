#include "ionian/topology.hpp"

namespace ionian {

std::string_view to_string(Link link) {
  switch (link) {
    case Link::kSystem:
      return "SYS";
    case Link::kNode:
      return "NODE";
    case Link::kHost:
      return "PHB";
    case Link::kMultiple:
      return "PXB";
    case Link::kSingle:
      return "PIX";
    case Link::kNvlink:
      return "NV";
    case Link::kSelf:
      return "X";
  }
  return "SYS";
}

Topology::Topology(std::size_t size, Link link)
    : size_(size), links_(size * size, link), nvlinks_(size * size, 0) {
  for (std::size_t i = 0; i < size; ++i) links_[i * size + i] = Link::kSelf;
}

void Topology::set(std::size_t a, std::size_t b, Link link, int nvlinks) {
  links_.at(a * size_ + b) = links_.at(b * size_ + a) = link;
  nvlinks_.at(a * size_ + b) = nvlinks_.at(b * size_ + a) = nvlinks;
}

}  // namespace ionian
