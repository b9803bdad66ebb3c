// inventory.hpp: which GPUs this machine has.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "ionian/device.hpp"
#include "ionian/topology.hpp"

namespace ionian {

/// A snapshot. `devices[i].index == i`; `topology` has one row for each.
struct Inventory {
  enum class Source { kNone, kNvml, kSimulated };
  Source source = Source::kNone;
  std::vector<Device> devices;
  Topology topology;
  std::string driver_version;  // "" unless kNvml
  std::string library_path;    // the NVML file that was loaded, "" if none
  std::string reason;  // why there is no device, or why some are left out; "" if all is well

  /// Returns the device with that UUID, nullptr if there is none.
  [[nodiscard]] const Device* find(const std::string& uuid) const;
};

struct InventoryOptions {
  /// "A10G:2,H100:8"; nullopt asks NVML.
  std::optional<std::string> simulate = std::nullopt;
  /// A CUDA_VISIBLE_DEVICES that narrows the result.
  std::optional<std::string> visible_devices = std::nullopt;
  bool pci_bus_order = false;                 // CUDA_DEVICE_ORDER=PCI_BUS_ID: only for `reason`
  std::chrono::milliseconds timeout{10'000};  // NVML that hangs longer is given up, with a reason
  bool processes = true;                      // also list the processes on each GPU
  int split = 1;                              // offer each GPU as that many logical ones

  /// Returns what the environment says: IONIAN_GPUS, CUDA_VISIBLE_DEVICES, CUDA_DEVICE_ORDER,
  /// IONIAN_SPLIT. An empty IONIAN_GPUS simulates nothing. Throws InvalidError for a bad
  /// IONIAN_SPLIT.
  static InventoryOptions from_environment();
};

/// Returns the GPUs of this machine in PCI bus order, or in the order of `visible_devices`. Never
/// throws for a missing, broken or hanging driver: `reason` says what is wrong. Throws InvalidError
/// for a malformed simulation. Thread-safe.
Inventory read_inventory(const InventoryOptions& options);

/// What the driver says of one GPU now.
struct DeviceHealth {
  bool answered = false;  // false: no answer in time, or no driver; the rest is then unknown
  std::string trouble;    // why it cannot be used, or was not asked, and what to do; "" if well
  std::string pending;    // it works, and wants a reset soon: "a row remap is pending"; "" if not
  std::optional<std::vector<DeviceProcess>> processes;  // compute; nullopt: the driver does not say
  std::uint64_t memory_used_bytes = 0;
  bool draws = false;  // for a screen, or the driver does not say: used memory can be a desktop's
};

/// Returns the health of one GPU, or of the GPU that a slice is of. A simulated GPU is well.
/// Never throws. Thread-safe.
DeviceHealth health_of(const Device& device, std::chrono::milliseconds timeout);

/// Returns the compute processes on one GPU now; nullopt if the driver cannot say within `timeout`.
/// A simulated GPU has none.
std::optional<std::vector<DeviceProcess>> processes_on(const Device& device,
                                                       std::chrono::milliseconds timeout);

}  // namespace ionian
