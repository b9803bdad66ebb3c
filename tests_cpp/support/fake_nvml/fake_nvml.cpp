// fake_nvml.cpp: a libnvidia-ml.so that says what a file tells it to.
//
// The file is named by FAKE_NVML and read by every nvmlInit_v2 and nvmlDeviceGetHandleByUUID. One
// statement a line:
//
//   driver 580.95.05       the driver version
//   init 999               what nvmlInit_v2 returns
//   count 3000000000       what nvmlDeviceGetCount_v2 says, where it is not the number of GPUs
//   count_error 2          what it returns
//   hang nvmlDeviceGetName that call does not return before FAKE_NVML + ".release" exists
//   gpu uuid=GPU-..;name=NVIDIA L4;total=24000000000;...   the next GPU
//   slice uuid=MIG-..;name=...;total=...                   a slice of the GPU before it
//   ancestor 0 1 30        nvmlGpuTopologyLevel_t of a pair
//   p2p 0 1 0              nvmlGpuP2PStatus_t of a pair for NVLink
//
// Keys of gpu: uuid name total used bus cc (9.0) cpus (a hexadecimal mask of the first 64) mig (0
// or 1) nvlinks ("switch*18" or "00000000:3B:00.0*2", joined by ',') processes ("pid:bytes", joined
// by ',') graphics (1: a screen is drawn on it) remap_pending remap_failed retired_pending recovery
// (nvmlDeviceGpuRecoveryAction_t) instance (of a slice) and handle_error uuid_error name_error
// memory_error pci_error process_error event_error: what that call returns.
//
// FAKE_NVML + ".events" holds "UUID XID" lines; those that are added after a GPU was registered for
// events are its events. With "UUID XID INSTANCE" they are about one MIG instance. Each
// registration adds the UUID to FAKE_NVML + ".watched".
//
// FAKE_NVML_PROCESSES, set when this is compiled, is the version of the process list: 3 (default),
// 1, or 535 for the drivers whose version 3 had a longer entry.
#include "fake_machine.hpp"

#ifndef FAKE_NVML_PROCESSES
#define FAKE_NVML_PROCESSES 3
#endif

using namespace fake_nvml;

// NOLINTBEGIN(readability-identifier-naming): these are names of NVML
extern "C" {

int nvmlInit_v2() {
  const int result = read_machine()->init;
  hang_in("nvmlInit_v2");
  return result;
}

int nvmlShutdown() { return machine == nullptr ? kUninitialized : kSuccess; }

const char* nvmlErrorString(int code) {
  switch (code) {
    case 15:
      return "GPU is lost";
    case 16:
      return "GPU requires reset";
    case 18:
      return "Driver/library version mismatch";
    case 9:
      return "Driver Not Loaded";
    case 999:
      return "Unknown Error";
    default:
      return "";
  }
}

int nvmlSystemGetDriverVersion(char* out, unsigned length) {
  return copy(machine.load()->driver, out, length);
}

int nvmlDeviceGetCount_v2(unsigned* count) {
  hang_in("nvmlDeviceGetCount_v2");
  *count = machine.load()->count == ~0ULL ? static_cast<unsigned>(machine.load()->gpus.size())
                                          : static_cast<unsigned>(machine.load()->count);
  return machine.load()->count_error;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Handle* out) {
  if (index >= machine.load()->gpus.size()) return kInvalidArgument;
  *out = handle_of(machine.load()->gpus[index]);
  return machine.load()->gpus[index].error("handle_error");
}

int nvmlDeviceGetHandleByUUID(const char* uuid, Handle* out) {
  hang_in("nvmlDeviceGetHandleByUUID");
  for (auto& gpu : read_machine()->gpus) {
    if (gpu.text("uuid") == uuid) {
      *out = handle_of(gpu);
      return gpu.error("handle_error");
    }
    for (auto& slice : gpu.slices) {
      if (slice.text("uuid") != uuid) continue;
      *out = handle_of(slice);
      return kSuccess;
    }
  }
  return kNotFound;
}

int nvmlDeviceGetRemappedRows(Handle handle, unsigned* corrected, unsigned* uncorrected,
                              unsigned* pending, unsigned* failed) {
  const Gpu* gpu = &gpu_of(handle);
  if (gpu->whole != nullptr) return kNotSupported;
  *corrected = *uncorrected = 0;
  *pending = static_cast<unsigned>(gpu->number("remap_pending"));
  *failed = static_cast<unsigned>(gpu->number("remap_failed"));
  return kSuccess;
}

int nvmlDeviceGetRetiredPagesPendingStatus(Handle handle, int* pending) {
  *pending = static_cast<int>(gpu_of(handle).number("retired_pending"));
  return kSuccess;
}

int nvmlDeviceGetFieldValues(Handle handle, int count, FieldValue* values) {
  for (int i = 0; i < count; ++i) {
    const bool known = values[i].field == ionian::nvml::kRecoveryAction;
    values[i].code = known ? kSuccess : kNotSupported;
    values[i].value = gpu_of(handle).number("recovery");
  }
  return kSuccess;
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(Handle handle, unsigned* count, void*) {
  *count = static_cast<unsigned>(gpu_of(handle).number("graphics"));
  return *count == 0 ? kSuccess : kInsufficientSize;
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Handle handle, Handle* out) {
  Gpu& gpu = gpu_of(handle);
  if (gpu.whole == nullptr) return kInvalidArgument;
  *out = handle_of(*gpu.whole);
  return kSuccess;
}

int nvmlDeviceGetGpuInstanceId(Handle handle, unsigned* instance) {
  *instance = static_cast<unsigned>(gpu_of(handle).number("instance"));
  return kSuccess;
}

int nvmlEventSetCreate(EventSet* set) {
  *set = reinterpret_cast<EventSet>(new Events);
  return kSuccess;
}

int nvmlEventSetFree(EventSet set) {
  delete reinterpret_cast<Events*>(set);
  return kSuccess;
}

int nvmlDeviceRegisterEvents(Handle handle, unsigned long long types, EventSet set) {
  const Gpu& gpu = gpu_of(handle);
  if (gpu.error("event_error") != 0) return gpu.error("event_error");
  if (types != ionian::nvml::kXidEvent) return kInvalidArgument;
  reinterpret_cast<Events*>(set)->gpus[gpu.text("uuid")] = handle;
  std::ofstream(machine.load()->file + ".watched", std::ios::app) << gpu.text("uuid") << '\n';
  return kSuccess;
}

int nvmlEventSetWait_v2(EventSet set, EventData* out, unsigned timeout_ms) {
  hang_in("nvmlEventSetWait_v2");
  Events& events = *reinterpret_cast<Events*>(set);
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  do {
    const auto all = read_events();
    while (events.seen < all.size()) {
      const Event& event = all[events.seen++];
      const auto gpu = events.gpus.find(event.uuid);
      if (gpu == events.gpus.end()) continue;
      *out = {gpu->second, ionian::nvml::kXidEvent, event.xid, event.instance, event.instance};
      return kSuccess;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  } while (std::chrono::steady_clock::now() < end);
  return kTimeout;
}

int nvmlDeviceGetUUID(Handle handle, char* out, unsigned length) {
  const Gpu* gpu = &gpu_of(handle);
  const int error = gpu->error("uuid_error");
  return error != 0 ? error : copy(gpu->text("uuid"), out, length);
}

int nvmlDeviceGetName(Handle handle, char* out, unsigned length) {
  const Gpu* gpu = &gpu_of(handle);
  hang_in("nvmlDeviceGetName");
  const int error = gpu->error("name_error");
  if (error != 0) return error;
  if (gpu->text("name") != "endless") return copy(gpu->text("name"), out, length);
  std::memset(out, 'x', length);  // no NUL, and a byte that is no ASCII
  out[0] = static_cast<char>(0xff);
  return kSuccess;
}

int nvmlDeviceGetMemoryInfo(Handle handle, Memory* out) {
  const Gpu* gpu = &gpu_of(handle);
  const int error = gpu->error("memory_error");
  if (error != 0) return error;
  out->total = gpu->number("total");
  out->used = gpu->number("used");
  out->free = out->total - out->used;
  return kSuccess;
}

int nvmlDeviceGetPciInfo_v3(Handle handle, PciInfo* out) {
  const Gpu* gpu = &gpu_of(handle);
  const int error = gpu->error("pci_error");
  return error != 0 ? error : fill_pci(gpu->text("bus"), out);
}

int nvmlDeviceGetCudaComputeCapability(Handle handle, int* major, int* minor) {
  const Gpu* gpu = &gpu_of(handle);
  const auto parts = split(gpu->text("cc"), '.');
  if (parts.size() != 2) return kNotSupported;
  *major = std::atoi(parts[0].c_str());
  *minor = std::atoi(parts[1].c_str());
  return kSuccess;
}

int nvmlDeviceGetCpuAffinity(Handle handle, unsigned size, unsigned long* words) {
  const Gpu* gpu = &gpu_of(handle);
  if (gpu->text("cpus").empty()) return kNotSupported;
  std::fill_n(words, size, 0UL);
  words[0] = static_cast<unsigned long>(std::strtoull(gpu->text("cpus").c_str(), nullptr, 16));
  return kSuccess;
}

int nvmlDeviceGetTopologyCommonAncestor(Handle a, Handle b, int* level) {
  return pair_value(machine.load()->ancestors, &gpu_of(a), &gpu_of(b), level);
}

int nvmlDeviceGetP2PStatus(Handle a, Handle b, int index, int* status) {
  return index == 2 ? pair_value(machine.load()->p2p, &gpu_of(a), &gpu_of(b), status)
                    : kNotSupported;
}

int nvmlDeviceGetNvLinkState(Handle handle, unsigned link, int* active) {
  const Gpu* gpu = &gpu_of(handle);
  const auto ends = nvlinks(gpu);
  if (ends.empty()) return kNotSupported;
  if (link >= ends.size()) return kInvalidArgument;
  *active = 1;
  return kSuccess;
}

int nvmlDeviceGetNvLinkRemoteDeviceType(Handle handle, unsigned link, int* type) {
  const Gpu* gpu = &gpu_of(handle);
  const std::string end = nvlinks(gpu).at(link);
  if (end == "hidden") return kNotSupported;
  *type = end == "switch" ? 2 : 0;
  return kSuccess;
}

int nvmlDeviceGetNvLinkRemotePciInfo_v2(Handle handle, unsigned link, PciInfo* out) {
  const Gpu* gpu = &gpu_of(handle);
  const std::string end = nvlinks(gpu).at(link);
  return end == "hidden" ? kNotSupported : fill_pci(end, out);
}

int nvmlDeviceGetMigMode(Handle handle, unsigned* current, unsigned* pending) {
  const Gpu* gpu = &gpu_of(handle);
  if (gpu->text("mig").empty()) return kNotSupported;
  *current = *pending = static_cast<unsigned>(gpu->number("mig"));
  return kSuccess;
}

int nvmlDeviceGetMaxMigDeviceCount(Handle, unsigned* count) {
  *count = 7;
  return kSuccess;
}

int nvmlDeviceGetMigDeviceHandleByIndex(Handle handle, unsigned index, Handle* out) {
  Gpu& whole = gpu_of(handle);
  if (index >= whole.slices.size()) return kNotFound;
  *out = handle_of(whole.slices[index]);
  return kSuccess;
}

struct ProcessVersion1 {
  unsigned pid;
  unsigned long long memory;
};
struct ProcessVersion2 {
  unsigned pid;
  unsigned long long memory;
  unsigned gpu_instance, compute_instance;
};
struct ProcessEarly535 {
  unsigned pid;
  unsigned long long memory;
  unsigned gpu_instance, compute_instance;
  unsigned long long protected_memory;
};

#if FAKE_NVML_PROCESSES == 1
int nvmlDeviceGetComputeRunningProcesses(Handle handle, unsigned* count, void* out) {
  const Gpu* gpu = &gpu_of(handle);
  return list_processes(gpu, count, static_cast<ProcessVersion1*>(out));
}
#elif FAKE_NVML_PROCESSES == 535
int nvmlDeviceGetConfComputeMemSizeInfo() { return kNotSupported; }
int nvmlDeviceGetComputeRunningProcesses_v3(Handle handle, unsigned* count, void* out) {
  const Gpu* gpu = &gpu_of(handle);
  return list_processes(gpu, count, static_cast<ProcessEarly535*>(out));
}
#else
int nvmlDeviceGetConfComputeMemSizeInfo() { return kNotSupported; }
int nvmlDeviceGetRunningProcessDetailList() { return kNotSupported; }
int nvmlDeviceGetComputeRunningProcesses_v3(Handle handle, unsigned* count, void* out) {
  const Gpu* gpu = &gpu_of(handle);
  hang_in("nvmlDeviceGetComputeRunningProcesses_v3");
  return list_processes(gpu, count, static_cast<ProcessVersion2*>(out));
}
#endif

}  // extern "C"
// NOLINTEND(readability-identifier-naming)
