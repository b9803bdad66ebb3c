#include "ionian/inventory.hpp"

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "gpu/nvml.hpp"
#include "gpu/nvml_health.hpp"
#include "gpu/simulated.hpp"
#include "gpu/split.hpp"
#include "gpu/text.hpp"
#include "gpu/visible_devices.hpp"

namespace ionian {
namespace {

constexpr std::size_t kShown = 60;

std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

void add_reason(Inventory& inventory, const std::string& reason) {
  if (!inventory.reason.empty()) inventory.reason += "; ";
  inventory.reason += reason;
}

Inventory apply_mask(const Inventory& all, std::string_view mask, bool pci_bus_order) {
  const auto positions = visible_positions(mask, all.devices);
  Inventory visible = narrow(all, positions);
  const std::string shown = "CUDA_VISIBLE_DEVICES=" + text::quoted(mask, kShown);
  if (positions.empty() && !all.devices.empty()) {
    add_reason(visible, shown + " hides every GPU of this machine, of which there are " +
                            std::to_string(all.devices.size()) + "; unset it, or name GPUs as " +
                            "`nvidia-smi -L` or `ionian gpus` do");
  } else if (!pci_bus_order && is_ambiguous(mask, all.devices)) {
    add_reason(visible, shown + " was read in PCI bus order; CUDA counts the fastest GPU first " +
                            "unless CUDA_DEVICE_ORDER=PCI_BUS_ID, so name GPUs by UUID");
  }
  return visible;
}

}  // namespace

const Device* Inventory::find(const std::string& uuid) const {
  const auto found = std::find_if(devices.begin(), devices.end(),
                                  [&](const Device& device) { return device.uuid == uuid; });
  return found == devices.end() ? nullptr : &*found;
}

InventoryOptions InventoryOptions::from_environment() {
  InventoryOptions options;
  options.simulate = environment("IONIAN_GPUS");
  if (options.simulate && options.simulate->empty()) options.simulate.reset();
  options.visible_devices = environment("CUDA_VISIBLE_DEVICES");
  options.pci_bus_order = environment("CUDA_DEVICE_ORDER") == "PCI_BUS_ID";
  const auto slices = environment("IONIAN_SPLIT");
  if (slices && !slices->empty()) options.split = parse_split(*slices);
  return options;
}

Inventory read_inventory(const InventoryOptions& options) {
  Inventory all = options.simulate ? simulate(*options.simulate)
                                   : read_nvml(options.processes, options.timeout);
  if (all.source == Inventory::Source::kNone) {
    add_reason(all, "to work without a GPU, simulate some: IONIAN_GPUS=\"A10G:2\"");
  }
  if (options.visible_devices)
    all = apply_mask(all, *options.visible_devices, options.pci_bus_order);
  return split(all, options.split);
}

DeviceHealth health_of(const Device& device, std::chrono::milliseconds timeout) {
  if (device.simulated) return {true, "", "", std::vector<DeviceProcess>{}, 0, false};
  return read_nvml_health(std::string(gpu_of(device.uuid)), timeout);
}

std::optional<std::vector<DeviceProcess>> processes_on(const Device& device,
                                                       std::chrono::milliseconds timeout) {
  if (device.simulated) return std::vector<DeviceProcess>{};
  return read_nvml_processes(std::string(gpu_of(device.uuid)), timeout);
}

}  // namespace ionian
