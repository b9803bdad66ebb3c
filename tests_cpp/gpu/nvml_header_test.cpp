// Compares our declarations of NVML with the real header where there is one.
#include <gtest/gtest.h>

#include "gpu/nvml_api.hpp"

#if __has_include(<nvml.h>)
#include <nvml.h>

namespace ionian::nvml {
namespace {

static_assert(sizeof(PciInfo) == sizeof(nvmlPciInfo_t));
static_assert(offsetof(PciInfo, bus_id) == offsetof(nvmlPciInfo_t, busId));
static_assert(sizeof(Memory) == sizeof(nvmlMemory_t));
static_assert(offsetof(Memory, used) == offsetof(nvmlMemory_t, used));
static_assert(sizeof(nvmlProcessInfo_v1_t) == 16 && sizeof(nvmlProcessInfo_t) == 24);
static_assert(offsetof(ProcessHead, used_memory) == offsetof(nvmlProcessInfo_t, usedGpuMemory));
static_assert(kSuccess == NVML_SUCCESS && kNotSupported == NVML_ERROR_NOT_SUPPORTED);
static_assert(kNoPermission == NVML_ERROR_NO_PERMISSION);
static_assert(kInsufficientSize == NVML_ERROR_INSUFFICIENT_SIZE);
static_assert(kDriverNotLoaded == NVML_ERROR_DRIVER_NOT_LOADED);
static_assert(kFunctionNotFound == NVML_ERROR_FUNCTION_NOT_FOUND);
static_assert(kGpuIsLost == NVML_ERROR_GPU_IS_LOST);
static_assert(kResetRequired == NVML_ERROR_RESET_REQUIRED);
static_assert(kVersionMismatch == NVML_ERROR_LIB_RM_VERSION_MISMATCH);
static_assert(kUnknown == NVML_ERROR_UNKNOWN);
static_assert(kNotFound == NVML_ERROR_NOT_FOUND && kTimeout == NVML_ERROR_TIMEOUT);
static_assert(sizeof(EventData) == sizeof(nvmlEventData_t));
static_assert(offsetof(EventData, data) == offsetof(nvmlEventData_t, eventData));
static_assert(offsetof(EventData, gpu_instance) == offsetof(nvmlEventData_t, gpuInstanceId));
static_assert(kXidEvent == nvmlEventTypeXidCriticalError);
static_assert(sizeof(FieldValue) == sizeof(nvmlFieldValue_t));
static_assert(offsetof(FieldValue, code) == offsetof(nvmlFieldValue_t, nvmlReturn));
static_assert(offsetof(FieldValue, value) == offsetof(nvmlFieldValue_t, value));
#ifdef NVML_FI_DEV_GET_GPU_RECOVERY_ACTION  // since CUDA 12.8
static_assert(kRecoveryAction == NVML_FI_DEV_GET_GPU_RECOVERY_ACTION);
static_assert(kRecoverByReset == NVML_GPU_RECOVERY_ACTION_GPU_RESET);
static_assert(kRecoverByReboot == NVML_GPU_RECOVERY_ACTION_NODE_REBOOT);
#endif
static_assert(kTextSize >= NVML_DEVICE_UUID_V2_BUFFER_SIZE);
static_assert(kTextSize >= NVML_DEVICE_NAME_V2_BUFFER_SIZE);
static_assert(kMostNvlinks >= NVML_NVLINK_MAX_LINKS);
static_assert(kP2pNvlink == NVML_P2P_CAPS_INDEX_NVLINK && kP2pOk == NVML_P2P_STATUS_OK);
static_assert(kNvlinkToGpu == NVML_NVLINK_DEVICE_TYPE_GPU);
static_assert(kNvlinkToSwitch == NVML_NVLINK_DEVICE_TYPE_SWITCH);
static_assert(NVML_TOPOLOGY_INTERNAL == 0 && NVML_TOPOLOGY_SINGLE == 10);
static_assert(NVML_TOPOLOGY_MULTIPLE == 20 && NVML_TOPOLOGY_HOSTBRIDGE == 30);
static_assert(NVML_TOPOLOGY_NODE == 40 && NVML_TOPOLOGY_SYSTEM == 50);

TEST(NvmlHeader, AgreesWithOurDeclarations) { SUCCEED() << "checked when this was compiled"; }

}  // namespace
}  // namespace ionian::nvml
#else
TEST(NvmlHeader, AgreesWithOurDeclarations) { GTEST_SKIP() << "this machine has no nvml.h"; }
#endif
