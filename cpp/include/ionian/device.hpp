// device.hpp: one GPU of this machine, as plain values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ionian {

/// A process that uses a GPU, as the driver reports it. Inside a container `pid` can be of another
/// namespace: `user` and `command` are then "".
struct DeviceProcess {
  std::int64_t pid = 0;
  std::uint64_t memory_bytes = 0;  // 0 if the driver does not say
  std::string user;                // "" if unknown
  std::string command;             // "" if unknown
  std::string run{};               // of ionian that it belongs to, "" if none or unknown
  bool operator==(const DeviceProcess&) const = default;
};

struct Device {
  int index = 0;     // position in the inventory, from 0: PCI bus order, or the mask's order
  std::string uuid;  // "GPU-…", or "GPU-…/1" for a slice: its identity everywhere in ionian
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

/// Returns the UUID of the GPU that a device is, or is a slice of.
inline std::string_view gpu_of(std::string_view uuid) { return uuid.substr(0, uuid.find('/')); }
inline bool is_slice(std::string_view uuid) { return uuid.find('/') != std::string_view::npos; }

}  // namespace ionian
