#include "gpu/nvml_api.hpp"

#include <algorithm>
#include <cstring>

namespace ionian::nvml {
namespace {

constexpr unsigned kFewProcesses = 64;
constexpr unsigned kMostProcesses = 65536;  // more is a broken answer
constexpr int kAttempts = 4;  // processes may appear between the call for the size and this

template <class Function>
bool fill(Function*& slot, const DynamicLibrary& library, const char* name) {
  slot = library.function<Function>(name);
  return slot != nullptr;
}

void fill_processes(Api& api, const DynamicLibrary& library) {
  constexpr std::size_t version_1 = 16;
  constexpr std::size_t version_2 = 24;
  constexpr std::size_t early_535 = 32;
  if (fill(api.get_processes, library, "nvmlDeviceGetComputeRunningProcesses_v3")) {
    const bool early = library.symbol("nvmlDeviceGetConfComputeMemSizeInfo") != nullptr &&
                       library.symbol("nvmlDeviceGetRunningProcessDetailList") == nullptr;
    api.process_stride = early ? early_535 : version_2;
  } else if (fill(api.get_processes, library, "nvmlDeviceGetComputeRunningProcesses_v2")) {
    api.process_stride = version_2;
  } else {
    fill(api.get_processes, library, "nvmlDeviceGetComputeRunningProcesses");
    api.process_stride = version_1;
  }
}

}  // namespace

Api Api::load(const DynamicLibrary& library, std::string& missing) {
  Api api;
  const auto need = [&](auto*& slot, const char* name) {
    if (!fill(slot, library, name) && missing.empty()) missing = name;
  };
  need(api.init, "nvmlInit_v2");
  need(api.shutdown, "nvmlShutdown");
  need(api.get_count, "nvmlDeviceGetCount_v2");
  need(api.get_handle_by_index, "nvmlDeviceGetHandleByIndex_v2");
  need(api.get_uuid, "nvmlDeviceGetUUID");
  need(api.get_name, "nvmlDeviceGetName");
  need(api.get_memory_info, "nvmlDeviceGetMemoryInfo");

  fill(api.error_string, library, "nvmlErrorString");
  fill(api.get_driver_version, library, "nvmlSystemGetDriverVersion");
  fill(api.get_handle_by_uuid, library, "nvmlDeviceGetHandleByUUID");
  fill(api.get_pci_info, library, "nvmlDeviceGetPciInfo_v3");
  fill(api.get_compute_capability, library, "nvmlDeviceGetCudaComputeCapability");
  fill(api.get_cpu_affinity, library, "nvmlDeviceGetCpuAffinity");
  fill(api.get_common_ancestor, library, "nvmlDeviceGetTopologyCommonAncestor");
  fill(api.get_p2p_status, library, "nvmlDeviceGetP2PStatus");
  fill(api.get_nvlink_state, library, "nvmlDeviceGetNvLinkState");
  fill(api.get_nvlink_remote_type, library, "nvmlDeviceGetNvLinkRemoteDeviceType");
  fill(api.get_nvlink_remote_pci, library, "nvmlDeviceGetNvLinkRemotePciInfo_v2");
  fill(api.get_mig_mode, library, "nvmlDeviceGetMigMode");
  fill(api.get_max_mig_count, library, "nvmlDeviceGetMaxMigDeviceCount");
  fill(api.get_mig_handle, library, "nvmlDeviceGetMigDeviceHandleByIndex");
  fill(api.get_remapped_rows, library, "nvmlDeviceGetRemappedRows");
  fill(api.get_retired_pages_pending, library, "nvmlDeviceGetRetiredPagesPendingStatus");
  fill(api.get_field_values, library, "nvmlDeviceGetFieldValues");
  fill(api.get_gpu_of_mig, library, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle");
  fill(api.get_gpu_instance, library, "nvmlDeviceGetGpuInstanceId");
  fill(api.event_set_create, library, "nvmlEventSetCreate");
  fill(api.event_set_free, library, "nvmlEventSetFree");
  fill(api.register_events, library, "nvmlDeviceRegisterEvents");
  fill(api.event_set_wait, library, "nvmlEventSetWait_v2");
  fill_processes(api, library);
  fill(api.get_graphics_processes, library, "nvmlDeviceGetGraphicsRunningProcesses_v3");
  return api;
}

std::string error_text(const Api& api, Return code) {
  const char* text = api.error_string == nullptr ? nullptr : api.error_string(code);
  return text == nullptr || *text == '\0' ? "NVML error " + std::to_string(code) : clean(text);
}

std::string clean(std::string_view buffer) {
  std::string text(buffer.substr(0, buffer.find('\0')));
  for (char& c : text) {
    if (c < ' ' || c > '~') c = '?';
  }
  return text;
}

std::vector<ProcessHead> processes(const Api& api, Handle handle, Return& code) {
  unsigned room = kFewProcesses;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    std::vector<char> entries(room * api.process_stride);
    unsigned count = room;
    code = call(api.get_processes, handle, &count, static_cast<void*>(entries.data()));
    if (code == kInsufficientSize) {
      room = std::min(std::max(count, room) * 2, kMostProcesses);
      continue;
    }
    if (code != kSuccess) return {};
    std::vector<ProcessHead> found(std::min(count, room));
    for (std::size_t i = 0; i < found.size(); ++i) {
      std::memcpy(&found[i], entries.data() + i * api.process_stride, sizeof(ProcessHead));
    }
    return found;
  }
  return {};
}

}  // namespace ionian::nvml
