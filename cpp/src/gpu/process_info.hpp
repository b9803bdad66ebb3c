// process_info.hpp: who a process is, from /proc.
#pragma once

#include <cstdint>
#include <string>

#include "ionian/device.hpp"

namespace ionian {

/// Returns the process as `/proc` under `root` describes it; user and command "" if they are not to
/// be had. The driver may count processes in another namespace than ours, so that its number is an
/// unrelated process of ours: inside a PID namespace only a process that has a GPU open is
/// described.
DeviceProcess describe_process(std::int64_t pid, std::uint64_t memory_bytes,
                               const std::string& root = "/proc");

/// Returns the NUMA node that a PCI device ("00000000:3B:00.0") hangs on, as sysfs under `root`
/// says; -1 if it does not. NVML's own call for it answers for the GPU's memory, which on some
/// machines is a node without CPUs.
int pci_numa_node(const std::string& pci_bus_id, const std::string& root = "/sys");

}  // namespace ionian
