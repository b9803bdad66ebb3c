// simulated.hpp: an inventory from a line of text, for machines without a GPU.
#pragma once

#include <string_view>

#include "ionian/inventory.hpp"

namespace ionian {

/// Returns the GPUs that `spec` names, e.g. "A10G:2,H100:8": models of the catalog with their
/// counts, joined by commas, in that order. A GPU's UUID depends on its model and on its number
/// among those of that model alone, so every process that names it means the same one. Models that
/// come on NVLink boards are linked all to all; the rest hang on a PCIe tree, which has two NUMA
/// nodes for more than four GPUs. Throws InvalidError with the position of the fault.
Inventory simulate(std::string_view spec);

}  // namespace ionian
