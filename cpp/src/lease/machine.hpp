// machine.hpp: what choosing GPUs needs to know of a machine, and no more. Pure values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "ionian/gpu_request.hpp"
#include "ionian/inventory.hpp"

namespace ionian {

/// The GPUs of one machine, by index: the immutable part of an allocator's state.
struct Machine {
  Machine() = default;
  explicit Machine(const Inventory& inventory);

  [[nodiscard]] std::size_t size() const noexcept { return types.size(); }

  std::vector<std::string> types;  // names in `gpu=`
  std::vector<int> preferences;    // lower is given away first
  Topology topology;
};

/// One alternative of a request, bound to a machine.
struct Alternative {
  std::string type;  // what was asked; a GPU of exactly this type goes first
  std::size_t count = 1;
  std::vector<std::size_t> gpus;  // that may serve it, ascending
  bool operator==(const Alternative&) const = default;
};

/// A request in a queue.
struct QueuedRequest {
  std::uint64_t request = 0;
  std::vector<Alternative> alternatives;
};

/// Returns the GPUs of `inventory` that may serve `item`: those whose UUID is not in `excluded`,
/// also those in trouble, which may recover.
///
/// A plain model name under GpuMatch::kUpgrade is bound to one model: the one asked for where the
/// machine has enough of them, else the cheapest upgrade that it has enough of. So "H100" never
/// takes an H200 on a machine with an H100, busy or not. Those in trouble count only where there is
/// no model with enough others.
Alternative bind(const GpuRequestItem& item, const Inventory& inventory, GpuMatch match,
                 const std::vector<std::string>& excluded = {});

/// Returns the GPUs of `alternative` that `usable(gpu)` lets through, by model, in the order in
/// which models are tried: the one that was asked for, then the cheapest to give away.
template <class Usable>
std::vector<std::vector<std::size_t>> by_model(const Machine& machine,
                                               const Alternative& alternative, Usable usable) {
  std::vector<std::vector<std::size_t>> groups;
  const auto rank = [&](std::size_t gpu) {
    return std::tuple(machine.types[gpu] != alternative.type, machine.preferences[gpu],
                      std::string_view(machine.types[gpu]));
  };
  for (const std::size_t gpu : alternative.gpus) {
    if (!usable(gpu)) continue;
    auto at = groups.begin();
    while (at != groups.end() && rank(at->front()) < rank(gpu)) ++at;
    if (at != groups.end() && machine.types[at->front()] == machine.types[gpu]) {
      at->push_back(gpu);
    } else {
      groups.insert(at, {gpu});
    }
  }
  return groups;
}

}  // namespace ionian
