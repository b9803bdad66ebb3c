#include "cuda/driver.hpp"

#include <mutex>

#include "base/dynamic_library.hpp"

namespace ionian::cuda {
namespace {

struct Loaded {
  Driver driver{};
  std::string reason;
};

Loaded load() {
  Loaded loaded;
  const auto library = DynamicLibrary::open("IONIAN_CUDA_LIBRARY", {"libcuda.so.1"});
  if (!library) {
    loaded.reason = library.reason();
    return loaded;
  }
  Driver& driver = loaded.driver;
  driver.path = library.path();
  const auto fill = [&](auto*& function, const char* name) {
    function = library.function<std::remove_reference_t<decltype(*function)>>(name);
    if (function == nullptr && loaded.reason.empty())
      loaded.reason = library.path() + " has no " + name + "; the driver is too old";
  };
#define IONIAN_FILL(name) fill(driver.name, #name)
  IONIAN_FILL(cuInit);
  IONIAN_FILL(cuDriverGetVersion);
  IONIAN_FILL(cuDeviceGetCount);
  IONIAN_FILL(cuDeviceGet);
  IONIAN_FILL(cuDeviceGetName);
  IONIAN_FILL(cuDeviceGetUuid_v2);
  IONIAN_FILL(cuDeviceGetAttribute);
  IONIAN_FILL(cuDeviceCanAccessPeer);
  IONIAN_FILL(cuDevicePrimaryCtxRetain);
  IONIAN_FILL(cuCtxGetCurrent);
  IONIAN_FILL(cuCtxSetCurrent);
  IONIAN_FILL(cuCtxEnablePeerAccess);
  IONIAN_FILL(cuCtxSynchronize);
  IONIAN_FILL(cuStreamCreate);
  IONIAN_FILL(cuStreamDestroy_v2);
  IONIAN_FILL(cuStreamSynchronize);
  IONIAN_FILL(cuStreamQuery);
  IONIAN_FILL(cuStreamWaitEvent);
  IONIAN_FILL(cuStreamIsCapturing);
  IONIAN_FILL(cuEventCreate);
  IONIAN_FILL(cuEventDestroy_v2);
  IONIAN_FILL(cuEventRecord);
  IONIAN_FILL(cuEventQuery);
  IONIAN_FILL(cuEventSynchronize);
  IONIAN_FILL(cuEventElapsedTime);
  IONIAN_FILL(cuMemAlloc_v2);
  IONIAN_FILL(cuMemFree_v2);
  IONIAN_FILL(cuMemHostAlloc);
  IONIAN_FILL(cuMemFreeHost);
  IONIAN_FILL(cuMemcpyAsync);
  IONIAN_FILL(cuMemcpyPeerAsync);
  IONIAN_FILL(cuMemsetD8Async);
  IONIAN_FILL(cuPointerGetAttribute);
  IONIAN_FILL(cuThreadExchangeStreamCaptureMode);
  IONIAN_FILL(cuModuleLoadData);
  IONIAN_FILL(cuModuleGetFunction);
  IONIAN_FILL(cuLaunchKernel);
  IONIAN_FILL(cuMemGetInfo_v2);
  IONIAN_FILL(cuGetErrorName);
  IONIAN_FILL(cuGetErrorString);
#undef IONIAN_FILL
  return loaded;
}

const Loaded& loaded() {
  static const Loaded once = load();
  return once;
}

}  // namespace

const Driver* find_driver() { return loaded().reason.empty() ? &loaded().driver : nullptr; }

const std::string& driver_reason() { return loaded().reason; }

const Driver& driver() {
  const Driver* found = find_driver();
  if (found == nullptr) {
    throw NotFoundError("[cuda] no CUDA driver: " + driver_reason() +
                        "\nnext: run `ionian doctor`; or use arrays of the host");
  }
  static const int initialised = found->cuInit(0);
  check(initialised, "initialise CUDA");
  return *found;
}

void check(int result, const char* what) {
  if (result == kSuccess) return;
  const Driver* found = find_driver();
  const char* name = nullptr;
  const char* text = nullptr;
  if (found != nullptr) {
    found->cuGetErrorName(result, &name);
    found->cuGetErrorString(result, &text);
  }
  throw CudaError("[cuda] " + std::string(what) + ": " +
                      (name == nullptr ? "error " + std::to_string(result) : name) +
                      (text == nullptr ? "" : ": " + std::string(text)),
                  result);
}

}  // namespace ionian::cuda
