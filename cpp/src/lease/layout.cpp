#include "lease/layout.hpp"

#include <algorithm>
#include <utility>

#include "ionian/error.hpp"

namespace ionian::allocator {

void Layout::add(const Machine& machine, std::size_t hosts) {
  constexpr std::size_t most = std::size_t{1} << 31;
  if (machine.size() > 0 && hosts > (most - size()) / machine.size()) {
    throw InvalidError("[allocator] " + std::to_string(hosts) + " hosts of " +
                       std::to_string(machine.size()) + " GPUs are more than 2^31 GPUs");
  }
  Alternative all;
  for (std::size_t gpu = 0; gpu < machine.size(); ++gpu) all.gpus.push_back(gpu);
  std::vector<std::uint32_t> kinds;  // of this machine's groups
  for (const auto& gpus : by_model(machine, all, [](std::size_t) { return true; })) {
    Kind kind{machine.types[gpus.front()],
              machine.preferences[gpus.front()],
              {gpus.begin(), gpus.end()},
              policy::Shape(machine.topology, gpus)};
    auto known = std::find_if(kinds_.begin(), kinds_.end(), [&](const Kind& each) {
      return each.type == kind.type && each.preference == kind.preference &&
             each.offsets == kind.offsets && each.shape == kind.shape;
    });
    if (known == kinds_.end()) {
      kind.shape.remember();
      known = kinds_.insert(kinds_.end(), std::move(kind));
    }
    known->groups += static_cast<std::uint32_t>(hosts);
    kinds.push_back(static_cast<std::uint32_t>(known - kinds_.begin()));
  }
  groups_.reserve(groups_.size() + hosts * kinds.size());
  group_of_.reserve(group_of_.size() + hosts * machine.size());
  for (std::size_t host = 0; host < hosts; ++host) {
    const auto first = static_cast<std::uint32_t>(group_of_.size());
    group_of_.resize(group_of_.size() + machine.size());
    for (const std::uint32_t kind : kinds) {
      for (const std::uint32_t offset : kinds_[kind].offsets) {
        group_of_[first + offset] = static_cast<std::uint32_t>(groups_.size());
      }
      groups_.push_back({kind, first});
    }
  }
}

}  // namespace ionian::allocator
