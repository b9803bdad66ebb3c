#include "gpu/nvml.hpp"

#include "base/dynamic_library.hpp"

namespace ionian {

Inventory read_nvml(bool, std::chrono::milliseconds) {
  Inventory inventory;
  const auto library = DynamicLibrary::open("IONIAN_NVML_LIBRARY", {"libnvidia-ml.so.1"});
  inventory.library_path = library.path();
  inventory.reason = "no NVIDIA driver library: " + library.reason();
  return inventory;
}

std::optional<std::vector<DeviceProcess>> read_nvml_processes(const std::string&,
                                                              std::chrono::milliseconds) {
  return std::nullopt;
}

}  // namespace ionian
