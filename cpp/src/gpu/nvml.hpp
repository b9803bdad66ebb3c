// nvml.hpp: the inventory as the NVIDIA driver reports it.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "ionian/inventory.hpp"

namespace ionian {

/// Returns what the driver says within `timeout`: devices in PCI bus order, or none and a reason.
/// Never throws. Thread-safe.
Inventory read_nvml(bool with_processes, std::chrono::milliseconds timeout);

/// Returns the compute processes on the GPU with this UUID; nullopt if the driver cannot say within
/// `timeout`. Thread-safe.
std::optional<std::vector<DeviceProcess>> read_nvml_processes(const std::string& uuid,
                                                              std::chrono::milliseconds timeout);

}  // namespace ionian
