#include "gpu/nvml_health.hpp"

#include "gpu/nvml_device.hpp"
#include "gpu/nvml_session.hpp"
#include "gpu/watchdog.hpp"

namespace ionian {
namespace {

using nvml::Api;
using nvml::call;
using nvml::Handle;
using nvml::Return;

/// Returns why the GPU with this UUID has no handle.
std::string explain_missing(const Api& api, const std::string& uuid, Return code) {
  const bool mig = uuid.starts_with("MIG-");
  if (code == nvml::kNotFound && mig) {
    return "MIG instance gone: it was destroyed, or MIG mode was turned off; `nvidia-smi -L` lists "
           "those that there are";
  }
  if (code == nvml::kNotFound) {
    return "the driver does not list it any more: reboot, or see `dmesg` for why it left";
  }
  const std::string trouble = nvml::trouble_of(api, code);
  return trouble.empty() ? nvml::error_text(api, code) : trouble;
}

/// Returns what the GPU waits for a reset for, "" if for nothing. MIG instances do not say.
std::string read_pending(const Api& api, Handle handle) {
  unsigned corrected = 0;
  unsigned uncorrected = 0;
  unsigned pending = 0;
  unsigned failed = 0;
  if (call(api.get_remapped_rows, handle, &corrected, &uncorrected, &pending, &failed) ==
      nvml::kSuccess) {
    if (failed != 0) return "remapping a memory row failed: have the GPU replaced";
    if (pending != 0) return "a memory row remap is pending: reset the GPU, or reboot";
  }
  int retired = 0;
  if (call(api.get_retired_pages_pending, handle, &retired) == nvml::kSuccess && retired != 0) {
    return "a memory page retirement is pending: reset the GPU, or reboot";
  }
  nvml::FieldValue recovery{};
  recovery.field = nvml::kRecoveryAction;
  if (call(api.get_field_values, handle, 1, &recovery) != nvml::kSuccess ||
      recovery.code != nvml::kSuccess) {
    return "";
  }
  const auto action = static_cast<unsigned>(recovery.value);  // an enumeration of 32 bits
  if (action == 0) return "";
  if (action == nvml::kRecoverByReset) return "the driver asks for a reset of the GPU";
  if (action == nvml::kRecoverByReboot) return "the driver asks for a reboot";
  return "the driver asks for recovery action " + std::to_string(action) +
         " (see `nvidia-smi -q`, GPU Recovery Action)";
}

DeviceHealth read(const std::string& uuid) {
  DeviceHealth health;
  const nvml::Session session;
  if (!session) {
    health.trouble = session.reason();
    return health;
  }
  const Api& api = session.api();
  nvml::Found found;
  const Return code = call(api.get_handle_by_uuid, uuid.c_str(), &found.handle);
  if (code == nvml::kFunctionNotFound) return health;
  health.answered = true;
  if (code != nvml::kSuccess) {
    health.trouble = explain_missing(api, uuid, code);
    return health;
  }
  nvml::Memory memory{};
  const Return memory_code = api.get_memory_info(found.handle, &memory);
  if (memory_code == nvml::kSuccess) health.memory_used_bytes = memory.used;
  found.device.trouble = nvml::trouble_of(api, memory_code);
  if (nvml::read_processes(api, found) == nvml::kSuccess) {
    health.processes = std::move(found.device.processes);
  }
  health.trouble = std::move(found.device.trouble);
  unsigned graphics = 0;
  health.draws = call(api.get_graphics_processes, found.handle, &graphics,
                      static_cast<void*>(nullptr)) != nvml::kSuccess;
  health.pending = read_pending(api, found.handle);
  return health;
}

}  // namespace

DeviceHealth read_nvml_health(const std::string& uuid, std::chrono::milliseconds timeout) {
  return watched<DeviceHealth>([uuid] { return read(uuid); }, timeout,
                               [](const std::string& reason) {
                                 DeviceHealth unknown;
                                 unknown.trouble = reason;
                                 return unknown;
                               });
}

}  // namespace ionian
