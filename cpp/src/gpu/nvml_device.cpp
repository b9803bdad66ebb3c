#include "gpu/nvml_device.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "gpu/process_info.hpp"
#include "gpu/text.hpp"
#include "ionian/catalog.hpp"

namespace ionian::nvml {
namespace {

constexpr std::size_t kCpuWords = 64;  // 4096 CPUs
constexpr unsigned kMostSlices = 64;   // an H100 has 7
constexpr std::size_t kMigPrefix = 4;  // "MIG-"

using Text = std::array<char, kTextSize>;

/// Notes a failed call in `device` if it says that the GPU itself is unusable.
void note(const Api& api, Device& device, Return code) {
  if (device.trouble.empty()) device.trouble = trouble_of(api, code);
}

std::optional<std::string> read_uuid(const Api& api, Handle handle, Return& code) {
  Text text{};
  code = api.get_uuid(handle, text.data(), static_cast<unsigned>(text.size() - 1));
  const std::string uuid = clean({text.data(), text.size()});
  return code == kSuccess && uuid.size() > kMigPrefix ? std::optional(uuid) : std::nullopt;
}

void read_name(const Api& api, Handle handle, Device& device) {
  Text text{};
  const Return code = api.get_name(handle, text.data(), static_cast<unsigned>(text.size() - 1));
  if (code == kSuccess) device.name = clean({text.data(), text.size()});
  note(api, device, code);
}

void read_memory(const Api& api, Handle handle, Device& device) {
  Memory memory{};
  const Return code = api.get_memory_info(handle, &memory);
  if (code == kSuccess) {
    device.memory_bytes = memory.total;
    device.memory_used_bytes = memory.used;
  }
  note(api, device, code);
}

/// Returns the name in `gpu=`. A slice is called after its profile: "MIG-1g.5gb".
std::string type_of(const Device& device, bool slice) {
  if (const GpuModel* model = identify(device.name, device.memory_bytes)) {
    return std::string(model->type);
  }
  const std::size_t profile = device.name.rfind("MIG ");
  if (slice && profile != std::string::npos) {
    return "MIG-" + device.name.substr(profile + kMigPrefix);
  }
  constexpr std::string_view maker = "NVIDIA ";
  return text::starts_with_ignoring_case(device.name, maker) ? device.name.substr(maker.size())
                                                             : device.name;
}

/// Fills in what belongs to the board: where it sits and what it can do. Slices share it.
void read_board(const Api& api, Handle gpu, Device& device) {
  PciInfo pci{};
  Return code = call(api.get_pci_info, gpu, &pci);
  if (code == kSuccess) {
    device.pci_bus_id = text::upper(clean({pci.bus_id.data(), pci.bus_id.size()}));
    device.numa_node = pci_numa_node(device.pci_bus_id);
  }
  note(api, device, code);
  int major = 0;
  int minor = 0;
  code = call(api.get_compute_capability, gpu, &major, &minor);
  if (code == kSuccess) {
    device.compute_major = major;
    device.compute_minor = minor;
  }
  note(api, device, code);
  std::array<unsigned long, kCpuWords> words{};
  constexpr std::size_t bits = 8 * sizeof(unsigned long);
  code = call(api.get_cpu_affinity, gpu, static_cast<unsigned>(words.size()), words.data());
  for (std::size_t bit = 0; code == kSuccess && bit < bits * words.size(); ++bit) {
    if ((words.at(bit / bits) >> (bit % bits) & 1U) != 0) {
      device.cpus.push_back(static_cast<int>(bit));
    }
  }
}

std::optional<Found> read_one(const Api& api, Handle handle, const Found* whole, Return& code) {
  Found found;
  found.handle = handle;
  found.gpu = whole != nullptr ? whole->gpu : handle;
  auto uuid = read_uuid(api, handle, code);
  if (!uuid) return std::nullopt;
  if (whole != nullptr) {
    found.device = whole->device;
    found.device.memory_bytes = found.device.memory_used_bytes = 0;
  } else {
    read_board(api, handle, found.device);
  }
  found.device.uuid = std::move(*uuid);
  read_name(api, handle, found.device);
  read_memory(api, handle, found.device);
  found.device.type = type_of(found.device, whole != nullptr);
  return found;
}

std::vector<Found> read_slices(const Api& api, const Found& whole) {
  std::vector<Found> slices;
  unsigned count = 0;
  if (call(api.get_max_mig_count, whole.handle, &count) != kSuccess) return slices;
  for (unsigned i = 0; i < std::min(count, kMostSlices); ++i) {
    Handle handle = nullptr;
    if (call(api.get_mig_handle, whole.handle, i, &handle) != kSuccess)
      continue;  // none at this place
    Return code = kSuccess;
    if (auto slice = read_one(api, handle, &whole, code)) slices.push_back(std::move(*slice));
  }
  return slices;
}

}  // namespace

std::string trouble_of(const Api& api, Return code) {
  switch (code) {
    case kGpuIsLost:
      return error_text(api, code) + ": it fell off the bus; reset it or reboot";
    case kResetRequired:
      return error_text(api, code) + ": run `nvidia-smi --gpu-reset` as root, or reboot";
    case kUnknown:
      return error_text(api, code) + ": the driver cannot talk to this GPU";
    default:
      return "";
  }
}

std::vector<Found> read_devices(const Api& api, Handle handle, std::string& reason) {
  Return code = kSuccess;
  auto whole = read_one(api, handle, nullptr, code);
  if (!whole) {
    reason = code == kSuccess ? "the driver gives it no UUID" : error_text(api, code);
    return {};
  }
  unsigned current = 0;
  unsigned pending = 0;
  whole->device.mig_enabled =
      call(api.get_mig_mode, handle, &current, &pending) == kSuccess && current == 1;
  if (!whole->device.mig_enabled) return {std::move(*whole)};
  auto slices = read_slices(api, *whole);
  if (!slices.empty()) return slices;
  if (whole->device.trouble.empty()) {
    whole->device.trouble =
        "MIG mode is on and no slice exists: make some with `nvidia-smi mig -cgi ... -C`, or turn "
        "it "
        "off with `nvidia-smi -mig 0`";
  }
  return {std::move(*whole)};
}

Return read_processes(const Api& api, Found& found) {
  Return code = kSuccess;
  for (const ProcessHead& process : processes(api, found.handle, code)) {
    const std::uint64_t used = process.used_memory == kNotAvailable ? 0 : process.used_memory;
    found.device.processes.push_back(describe_process(process.pid, used));
  }
  note(api, found.device, code);
  return code;
}

}  // namespace ionian::nvml
