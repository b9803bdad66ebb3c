#include "lease/machine.hpp"

#include <algorithm>
#include <utility>

#include "ionian/catalog.hpp"

namespace ionian {

Machine::Machine(const Inventory& inventory) : topology(inventory.topology) {
  for (const auto& device : inventory.devices) {
    types.push_back(device.type);
    preferences.push_back(preference(device));
  }
}

Alternative bind(const GpuRequestItem& item, const Inventory& inventory, GpuMatch match,
                 const std::vector<std::string>& excluded) {
  Alternative bound{item.type, static_cast<std::size_t>(item.count), {}};
  for (std::size_t i = 0; i < inventory.devices.size(); ++i) {
    const Device& device = inventory.devices[i];
    const bool out = std::find(excluded.begin(), excluded.end(), device.uuid) != excluded.end();
    if (!out && item.accepts(device, match)) bound.gpus.push_back(i);
  }
  if (item.kind != GpuRequestItem::Kind::kModel ||
      item.binding != GpuRequestItem::Binding::kDefault || match != GpuMatch::kUpgrade) {
    return bound;
  }
  const auto healthy = [&](std::size_t gpu) { return inventory.devices[gpu].trouble.empty(); };
  const auto every = by_model(Machine(inventory), bound, [](std::size_t) { return true; });
  // A model with enough that are well, else one that has enough when they are well again.
  for (const bool now : {true, false}) {
    for (const auto& gpus : every) {
      const auto enough = now ? std::count_if(gpus.begin(), gpus.end(), healthy)
                              : static_cast<std::ptrdiff_t>(gpus.size());
      if (static_cast<std::size_t>(enough) < bound.count) continue;
      bound.gpus = gpus;
      return bound;
    }
  }
  return bound;
}

}  // namespace ionian
