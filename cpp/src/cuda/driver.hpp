// driver.hpp: the CUDA driver, found at run time: the few types and calls that ionian uses.
//
// Declared here instead of taken from cuda.h, so that one build works with and without a toolkit;
// a test compares every declaration with the real header where there is one. The primary context
// is shared with torch, cupy and jax, so their pointers and streams are ours too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "ionian/error.hpp"

extern "C" {
struct CUctx_st;
struct CUstream_st;
struct CUevent_st;
struct CUmod_st;
struct CUfunc_st;
}

namespace ionian::cuda {

using Context = CUctx_st*;          // CUcontext
using StreamHandle = CUstream_st*;  // CUstream, which is cudaStream_t too; nullptr: the default one
using EventHandle = CUevent_st*;    // CUevent
using Module = CUmod_st*;           // CUmodule
using Function = CUfunc_st*;        // CUfunction
using DevicePointer = std::uint64_t;  // CUdeviceptr

inline constexpr int kSuccess = 0;
inline constexpr int kErrorNotReady = 600;   // CUDA_ERROR_NOT_READY
inline constexpr int kPointerDevice = 9;     // CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
inline constexpr int kMultiprocessors = 16;  // CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
inline constexpr int kComputeMajor = 75;     // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
inline constexpr int kComputeMinor = 76;
inline constexpr int kCaptureRelaxed = 2;  // CU_STREAM_CAPTURE_MODE_RELAXED
inline constexpr unsigned kStreamNonBlocking = 1;
inline constexpr unsigned kEventDisableTiming = 2;

/// The functions of libcuda, by their own names. Versions ("_v2") are those that cuda.h of CUDA 12
/// maps the plain names to.
struct Driver {
  int (*cuInit)(unsigned);
  int (*cuDriverGetVersion)(int*);
  int (*cuDeviceGetCount)(int*);
  int (*cuDeviceGet)(int*, int);
  int (*cuDeviceGetName)(char*, int, int);
  int (*cuDeviceGetUuid_v2)(void*, int);
  int (*cuDeviceGetAttribute)(int*, int, int);
  int (*cuDeviceCanAccessPeer)(int*, int, int);
  int (*cuDevicePrimaryCtxRetain)(Context*, int);
  int (*cuCtxGetCurrent)(Context*);
  int (*cuCtxSetCurrent)(Context);
  int (*cuCtxEnablePeerAccess)(Context, unsigned);
  int (*cuCtxSynchronize)();
  int (*cuStreamCreate)(StreamHandle*, unsigned);
  int (*cuStreamDestroy_v2)(StreamHandle);
  int (*cuStreamSynchronize)(StreamHandle);
  int (*cuStreamQuery)(StreamHandle);
  int (*cuStreamWaitEvent)(StreamHandle, EventHandle, unsigned);
  int (*cuStreamIsCapturing)(StreamHandle, int*);
  int (*cuEventCreate)(EventHandle*, unsigned);
  int (*cuEventDestroy_v2)(EventHandle);
  int (*cuEventRecord)(EventHandle, StreamHandle);
  int (*cuEventQuery)(EventHandle);
  int (*cuEventSynchronize)(EventHandle);
  int (*cuEventElapsedTime)(float*, EventHandle, EventHandle);
  int (*cuMemAlloc_v2)(DevicePointer*, std::size_t);
  int (*cuMemFree_v2)(DevicePointer);
  int (*cuMemHostAlloc)(void**, std::size_t, unsigned);
  int (*cuMemFreeHost)(void*);
  int (*cuMemcpyAsync)(DevicePointer, DevicePointer, std::size_t, StreamHandle);
  int (*cuMemcpyPeerAsync)(DevicePointer, Context, DevicePointer, Context, std::size_t,
                           StreamHandle);
  int (*cuMemsetD8Async)(DevicePointer, unsigned char, std::size_t, StreamHandle);
  int (*cuPointerGetAttribute)(void*, int, DevicePointer);
  int (*cuThreadExchangeStreamCaptureMode)(int*);
  int (*cuModuleLoadData)(Module*, const void*);
  int (*cuModuleGetFunction)(Function*, Module, const char*);
  int (*cuLaunchKernel)(Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                        unsigned, StreamHandle, void**, void**);
  int (*cuMemGetInfo_v2)(std::size_t*, std::size_t*);
  int (*cuGetErrorName)(int, const char**);
  int (*cuGetErrorString)(int, const char**);

  std::string path;  // of the file that was loaded
};

/// Returns the driver, loaded but not initialised, nullptr if there is none: `driver_reason()` says
/// why. Thread-safe, like everything here.
const Driver* find_driver();
/// Returns why there is no driver, "" if there is one.
const std::string& driver_reason();
/// Returns the driver, initialised. Throws NotFoundError with the reason if there is none,
/// CudaError if it refuses.
const Driver& driver();
/// Throws CudaError unless `result` is CUDA_SUCCESS. `what` says what was tried.
void check(int result, const char* what);

}  // namespace ionian::cuda
