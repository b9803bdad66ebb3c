// nvml_api.hpp: the few calls of NVML that we use, declared by us and filled at run time.
//
// The library comes with the driver, its header only with the CUDA Toolkit. So the declarations are
// ours; a test compares them with the real header where there is one. Names follow nvml.h.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/dynamic_library.hpp"

namespace ionian::nvml {

using Return = int;
constexpr Return kSuccess = 0;
constexpr Return kNotSupported = 3;
constexpr Return kNoPermission = 4;
constexpr Return kNotFound = 6;
constexpr Return kInsufficientSize = 7;
constexpr Return kDriverNotLoaded = 9;
constexpr Return kTimeout = 10;
constexpr Return kFunctionNotFound = 13;  // also: this library is too old to have the call
constexpr Return kGpuIsLost = 15;
constexpr Return kResetRequired = 16;
constexpr Return kVersionMismatch = 18;
constexpr Return kUnknown = 999;

using Handle = struct nvmlDevice_st*;

struct PciInfo {  // nvmlPciInfo_t since nvmlDeviceGetPciInfo_v3
  std::array<char, 16> bus_id_legacy;
  unsigned domain;
  unsigned bus;
  unsigned device;
  unsigned pci_device_id;
  unsigned pci_subsystem_id;
  std::array<char, 32> bus_id;
};
static_assert(sizeof(PciInfo) == 68);

struct Memory {  // nvmlMemory_t
  unsigned long long total;
  unsigned long long free;
  unsigned long long used;
};

/// What every version of nvmlProcessInfo_t begins with. See Api::process_stride.
struct ProcessHead {
  unsigned pid;
  unsigned long long used_memory;
};
static_assert(sizeof(ProcessHead) == 16);
constexpr unsigned long long kNotAvailable = ~0ULL;  // NVML_VALUE_NOT_AVAILABLE

using EventSet = struct nvmlEventSet_st*;

struct EventData {  // nvmlEventData_t
  Handle device;
  unsigned long long type;
  unsigned long long data;  // the Xid
  unsigned gpu_instance;    // of MIG that it is about, kNoInstance if none
  unsigned compute_instance;
};
static_assert(sizeof(EventData) == 32);
constexpr unsigned long long kXidEvent = 0x8;  // nvmlEventTypeXidCriticalError
constexpr unsigned kNoInstance = 0xffffffffU;

struct FieldValue {  // nvmlFieldValue_t
  unsigned field;
  unsigned scope;
  long long timestamp;
  long long latency_us;
  int type;
  Return code;
  unsigned long long value;
};
static_assert(sizeof(FieldValue) == 40);
constexpr unsigned kRecoveryAction = 230;  // NVML_FI_DEV_GET_GPU_RECOVERY_ACTION
constexpr unsigned kRecoverByReset = 1;    // nvmlDeviceGpuRecoveryAction_t; 0 is none
constexpr unsigned kRecoverByReboot = 2;

constexpr std::size_t kTextSize =
    96;  // NVML_DEVICE_UUID_V2_BUFFER_SIZE, _NAME_V2_, and more than the rest
constexpr unsigned kMostNvlinks =
    64;                             // NVML_NVLINK_MAX_LINKS grows: 18 in CUDA 12, 36 in CUDA 13.5
constexpr int kP2pNvlink = 2;       // NVML_P2P_CAPS_INDEX_NVLINK
constexpr int kP2pOk = 0;           // NVML_P2P_STATUS_OK
constexpr int kNvlinkToGpu = 0;     // NVML_NVLINK_DEVICE_TYPE_GPU
constexpr int kNvlinkToSwitch = 2;  // NVML_NVLINK_DEVICE_TYPE_SWITCH

/// The functions. Those in the second group may be missing: then `call` says kFunctionNotFound.
struct Api {
  Return (*init)() = nullptr;
  Return (*shutdown)() = nullptr;
  Return (*get_count)(unsigned*) = nullptr;
  Return (*get_handle_by_index)(unsigned, Handle*) = nullptr;
  Return (*get_uuid)(Handle, char*, unsigned) = nullptr;
  Return (*get_name)(Handle, char*, unsigned) = nullptr;
  Return (*get_memory_info)(Handle, Memory*) = nullptr;

  const char* (*error_string)(Return) = nullptr;
  Return (*get_driver_version)(char*, unsigned) = nullptr;
  Return (*get_handle_by_uuid)(const char*, Handle*) = nullptr;
  Return (*get_pci_info)(Handle, PciInfo*) = nullptr;
  Return (*get_compute_capability)(Handle, int*, int*) = nullptr;
  Return (*get_cpu_affinity)(Handle, unsigned, unsigned long*) = nullptr;
  Return (*get_common_ancestor)(Handle, Handle, int*) = nullptr;
  Return (*get_p2p_status)(Handle, Handle, int, int*) = nullptr;
  Return (*get_nvlink_state)(Handle, unsigned, int*) = nullptr;
  Return (*get_nvlink_remote_type)(Handle, unsigned, int*) = nullptr;
  Return (*get_nvlink_remote_pci)(Handle, unsigned, PciInfo*) = nullptr;
  Return (*get_mig_mode)(Handle, unsigned*, unsigned*) = nullptr;
  Return (*get_max_mig_count)(Handle, unsigned*) = nullptr;
  Return (*get_mig_handle)(Handle, unsigned, Handle*) = nullptr;
  Return (*get_processes)(Handle, unsigned*, void*) = nullptr;
  Return (*get_graphics_processes)(Handle, unsigned*, void*) = nullptr;
  Return (*get_remapped_rows)(Handle, unsigned*, unsigned*, unsigned*, unsigned*) = nullptr;
  Return (*get_retired_pages_pending)(Handle, int*) = nullptr;
  Return (*get_field_values)(Handle, int, FieldValue*) = nullptr;
  Return (*get_gpu_of_mig)(Handle, Handle*) = nullptr;
  Return (*get_gpu_instance)(Handle, unsigned*) = nullptr;
  Return (*event_set_create)(EventSet*) = nullptr;
  Return (*event_set_free)(EventSet) = nullptr;
  Return (*register_events)(Handle, unsigned long long, EventSet) = nullptr;
  Return (*event_set_wait)(EventSet, EventData*, unsigned) = nullptr;
  /// Bytes from one entry of `get_processes` to the next: 16 in version 1, 24 in versions 2 and 3.
  /// The first drivers of the 535 series had version 3 with 32, and are known by a call that they
  /// lack.
  std::size_t process_stride = 0;

  /// Returns the functions of `library`; `missing` names the first of the first group that it
  /// lacks.
  static Api load(const DynamicLibrary& library, std::string& missing);
};

/// Calls a function that may be missing.
template <class... Parameters, class... Arguments>
Return call(Return (*function)(Parameters...), Arguments... arguments) {
  return function == nullptr ? kFunctionNotFound : function(arguments...);
}

/// Returns NVML's own words for `code`, "NVML error 15" without any.
std::string error_text(const Api& api, Return code);

/// Returns what `buffer`, filled by NVML, says: up to its NUL or end, with '?' for what is not
/// printable ASCII.
std::string clean(std::string_view buffer);

/// Returns the compute processes of a GPU; sets `code` if the driver does not say.
std::vector<ProcessHead> processes(const Api& api, Handle handle, Return& code);

}  // namespace ionian::nvml
