// Compares our declarations of the CUDA driver with the real header where there is one.
#include <gtest/gtest.h>

#include <type_traits>

#include "cuda/driver.hpp"

#if __has_include(<cuda.h>)
#include <cuda.h>

namespace ionian::cuda {
namespace {

/// Whether two C functions are called alike: the same number of parameters of the same sizes and
/// kinds. Enumerations are ints there and here.
template <class A, class B>
constexpr bool kAlike = sizeof(A) == sizeof(B) && std::is_pointer_v<A> == std::is_pointer_v<B>;
template <class Ours, class Theirs>
struct SameCall : std::false_type {};
template <class... Ours, class... Theirs>
struct SameCall<int (*)(Ours...), CUresult(Theirs...)> {
  static constexpr bool value = [] {
    if constexpr (sizeof...(Ours) != sizeof...(Theirs)) {
      return false;
    } else {
      return (kAlike<Ours, Theirs> && ...);
    }
  }();
};

#define SAME(name) static_assert(SameCall<decltype(Driver::name), decltype(::name)>::value, #name)
SAME(cuInit);
SAME(cuDriverGetVersion);
SAME(cuDeviceGetCount);
SAME(cuDeviceGet);
SAME(cuDeviceGetName);
SAME(cuDeviceGetAttribute);
SAME(cuDeviceCanAccessPeer);
SAME(cuDevicePrimaryCtxRetain);
SAME(cuCtxGetCurrent);
SAME(cuCtxSetCurrent);
SAME(cuCtxEnablePeerAccess);
SAME(cuCtxSynchronize);
SAME(cuStreamCreate);
SAME(cuStreamDestroy_v2);
SAME(cuStreamSynchronize);
SAME(cuStreamQuery);
SAME(cuStreamWaitEvent);
SAME(cuStreamIsCapturing);
SAME(cuEventCreate);
SAME(cuEventDestroy_v2);
SAME(cuEventRecord);
SAME(cuEventQuery);
SAME(cuEventSynchronize);
// cuEventElapsedTime: CUDA 13 maps that name to another version; ours stays what it was.
SAME(cuMemAlloc_v2);
SAME(cuMemFree_v2);
SAME(cuMemHostAlloc);
SAME(cuMemFreeHost);
SAME(cuModuleLoadData);
SAME(cuModuleGetFunction);
SAME(cuLaunchKernel);
SAME(cuMemcpyAsync);
SAME(cuMemcpyPeerAsync);
SAME(cuMemsetD8Async);
SAME(cuPointerGetAttribute);
SAME(cuThreadExchangeStreamCaptureMode);
SAME(cuMemGetInfo_v2);
SAME(cuGetErrorName);
SAME(cuGetErrorString);
#undef SAME
static_assert(std::is_same_v<Context, CUcontext> && std::is_same_v<StreamHandle, CUstream>);
static_assert(std::is_same_v<EventHandle, CUevent>);
static_assert(sizeof(DevicePointer) == sizeof(CUdeviceptr));
static_assert(kSuccess == CUDA_SUCCESS && kErrorNotReady == CUDA_ERROR_NOT_READY);
static_assert(kPointerDevice == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL);
static_assert(kMultiprocessors == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
static_assert(kCaptureRelaxed == CU_STREAM_CAPTURE_MODE_RELAXED);
static_assert(kStreamNonBlocking == CU_STREAM_NON_BLOCKING);
static_assert(kEventDisableTiming == CU_EVENT_DISABLE_TIMING);

TEST(DriverHeader, AgreesWithOurDeclarations) { SUCCEED() << "checked when this was compiled"; }

}  // namespace
}  // namespace ionian::cuda
#else
TEST(DriverHeader, AgreesWithOurDeclarations) { GTEST_SKIP() << "cuda.h is not installed here"; }
#endif
