// visible_devices.hpp: what a CUDA_VISIBLE_DEVICES makes of an inventory. Pure.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "ionian/inventory.hpp"

namespace ionian {

/// Returns the positions of the devices that `mask` leaves visible, in its order, by CUDA's rules:
///  - entries are all of one kind: numbers, beginnings of GPU UUIDs, or MIG UUIDs. The first
///  decides.
///  - a number is what the entry begins with ("1gpu" is 1) and a beginning must fit one GPU only;
///  - the first entry that is not of this kind, or names nothing, ends the list ("0,foo,1" is 0);
///  - an entry that names a GPU a second time hides every GPU ("0,0" is none); "" and "-1" too.
/// Numbers count in the order of `devices`. CUDA itself shows a process one MIG slice at most; here
/// a list of slices is kept whole, because every lease takes its own from it.
std::vector<std::size_t> visible_positions(std::string_view mask,
                                           const std::vector<Device>& devices);

/// Returns the devices at `positions`, numbered anew in that order, with their part of the
/// topology.
Inventory narrow(const Inventory& inventory, const std::vector<std::size_t>& positions);

/// Returns whether the numbers in `mask` may mean other GPUs to CUDA than to us: CUDA counts
/// fastest first unless told otherwise, and that is PCI order only where all GPUs are of one model.
bool is_ambiguous(std::string_view mask, const std::vector<Device>& devices);

}  // namespace ionian
