// nvml_health.hpp: whether one GPU is well, as the NVIDIA driver says.
#pragma once

#include <chrono>
#include <string>

#include "ionian/inventory.hpp"

namespace ionian {

/// Returns what the driver says within `timeout` of the GPU, or MIG instance, with this UUID.
/// Never throws. Thread-safe.
DeviceHealth read_nvml_health(const std::string& uuid, std::chrono::milliseconds timeout);

}  // namespace ionian
