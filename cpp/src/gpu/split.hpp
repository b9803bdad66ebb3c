// split.hpp: each GPU offered as several logical ones, so that programs for many GPUs run on one.
// Pure.
#pragma once

#include <string_view>

#include "ionian/inventory.hpp"

namespace ionian {

inline constexpr int kMostSlices = 16;

/// Returns the number of slices that a text such as IONIAN_SPLIT asks for. Throws InvalidError
/// unless it is a whole number from 1 to kMostSlices.
int parse_split(std::string_view text);

/// Returns the inventory with `slices` devices in place of each: "GPU-…/0", "GPU-…/1", …, of the
/// same model, with an equal share of the memory and every process of the GPU. Slices of one GPU
/// are linked as kSelf.
Inventory split(const Inventory& inventory, int slices);

}  // namespace ionian
