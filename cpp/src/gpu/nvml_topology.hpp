// nvml_topology.hpp: how the GPUs are linked, as NVML describes it.
#pragma once

#include <vector>

#include "gpu/nvml_device.hpp"
#include "ionian/topology.hpp"

namespace ionian::nvml {

/// Returns the links between `found`, in their order. NVLink counts where the driver says that both
/// GPUs can use it; a pair it will not speak of is taken as kSystem, the worst. Slices have no link
/// of their own to anything: they are kSystem too.
Topology read_topology(const Api& api, const std::vector<Found>& found);

}  // namespace ionian::nvml
