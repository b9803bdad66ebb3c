#include "gpu/nvml.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "gpu/nvml_api.hpp"
#include "gpu/nvml_device.hpp"
#include "gpu/nvml_session.hpp"
#include "gpu/nvml_topology.hpp"
#include "gpu/watchdog.hpp"

namespace ionian {
namespace {

using nvml::Api;
using nvml::call;
using nvml::Return;
using nvml::Session;

constexpr unsigned kMostGpus = 1024;  // more is a broken answer

std::string driver_version(const Api& api) {
  std::array<char, nvml::kTextSize> text{};
  const Return code =
      call(api.get_driver_version, text.data(), static_cast<unsigned>(text.size() - 1));
  return code == nvml::kSuccess ? nvml::clean({text.data(), text.size()}) : "";
}

/// Returns every device that answers, in PCI bus order; `reason` names those that do not.
std::vector<nvml::Found> find_devices(const Api& api, unsigned count, std::string& reason) {
  std::vector<nvml::Found> all;
  for (unsigned i = 0; i < count; ++i) {
    nvml::Handle handle = nullptr;
    std::string fault;
    const Return code = api.get_handle_by_index(i, &handle);
    if (code == nvml::kSuccess) {
      for (auto& found : nvml::read_devices(api, handle, fault)) all.push_back(std::move(found));
    } else {
      fault = nvml::error_text(api, code);
    }
    if (fault.empty()) continue;
    if (!reason.empty()) reason += "; ";
    reason += "GPU " + std::to_string(i) + " of the driver is left out: " + fault;
  }
  // Bus ids have a fixed width, so their order as text is their order as numbers.
  std::stable_sort(all.begin(), all.end(), [](const nvml::Found& a, const nvml::Found& b) {
    return a.device.pci_bus_id < b.device.pci_bus_id;
  });
  return all;
}

Inventory read(bool with_processes) {
  Inventory inventory;
  const Session session;
  inventory.library_path = session.library_path();
  inventory.reason = session.reason();
  if (!session) return inventory;
  const Api& api = session.api();
  inventory.driver_version = driver_version(api);
  unsigned count = 0;
  const Return code = api.get_count(&count);
  if (code != nvml::kSuccess || count == 0 || count > kMostGpus) {
    inventory.reason = code != nvml::kSuccess
                           ? "NVML does not count its GPUs: " + nvml::error_text(api, code)
                           : "NVML reports " + std::to_string(count) + " GPUs";
    return inventory;
  }
  auto found = find_devices(api, count, inventory.reason);
  inventory.source = Inventory::Source::kNvml;
  inventory.topology = nvml::read_topology(api, found);
  for (auto& each : found) {
    if (with_processes) nvml::read_processes(api, each);
    each.device.index = static_cast<int>(inventory.devices.size());
    inventory.devices.push_back(std::move(each.device));
  }
  return inventory;
}

using Processes = std::optional<std::vector<DeviceProcess>>;

Processes read_processes_of(const std::string& uuid) {
  const Session session;
  nvml::Found found;
  if (!session || call(session.api().get_handle_by_uuid, uuid.c_str(), &found.handle) != 0) {
    return std::nullopt;
  }
  return nvml::read_processes(session.api(), found) == nvml::kSuccess
             ? Processes(std::move(found.device.processes))
             : std::nullopt;
}

}  // namespace

Inventory read_nvml(bool with_processes, std::chrono::milliseconds timeout) {
  return watched<Inventory>([with_processes] { return read(with_processes); }, timeout,
                            [](const std::string& reason) {
                              Inventory none;
                              none.reason = reason;
                              return none;
                            });
}

Processes read_nvml_processes(const std::string& uuid, std::chrono::milliseconds timeout) {
  return watched<Processes>([uuid] { return read_processes_of(uuid); }, timeout,
                            [](const std::string&) -> Processes { return std::nullopt; });
}

}  // namespace ionian
