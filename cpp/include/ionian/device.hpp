// device.hpp: one GPU of this machine, as plain values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ionian {

/// A process that uses a GPU, as the driver reports it. Inside a container `pid` can be of another
/// namespace: `user` and `command` are then "".
struct DeviceProcess {
  std::int64_t pid = 0;
  std::uint64_t memory_bytes = 0;  // 0 if the driver does not say
  std::string user;                // "" if unknown
  std::string command;             // "" if unknown
  bool operator==(const DeviceProcess&) const = default;
};

struct Device {
  int index = 0;     // position in the inventory, from 0: PCI bus order, or the mask's order
  std::string uuid;  // "GPU-…"; the identity of the GPU everywhere in ionian
  std::string name;  // what NVML calls it
  std::string type;  // its name in `gpu=`; NVML's name without "NVIDIA " if the catalog lacks it
  std::uint64_t memory_bytes = 0;
  std::uint64_t memory_used_bytes = 0;
  int compute_major = 0;  // 0 if unknown
  int compute_minor = 0;
  std::string pci_bus_id;  // "00000000:3B:00.0"; "" if simulated
  int numa_node = -1;      // -1 if unknown
  std::vector<int> cpus;   // CPUs near it; empty if unknown
  bool mig_enabled = false;
  bool simulated = false;
  std::string trouble;                   // why it cannot be used ("GPU is lost"), "" if healthy
  std::vector<DeviceProcess> processes;  // compute processes only
  bool operator==(const Device&) const = default;
};

}  // namespace ionian
