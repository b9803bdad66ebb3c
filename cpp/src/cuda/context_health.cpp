#include "cuda/context_health.hpp"

#include <dlfcn.h>

#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <type_traits>

#include "cuda/driver.hpp"

namespace ionian::cuda {
namespace {

constexpr int kErrorNotInitialised = 3;
constexpr int kErrorDeinitialised = 4;
constexpr int kErrorInvalidContext = 201;
constexpr int kErrorContextDestroyed = 709;  // by the program itself; another is as good as new
constexpr int kFirstCaptureError = 900;
constexpr int kLastCaptureError = 908;

/// CU_STREAM_PER_THREAD: unlike the legacy stream it disturbs nobody who records a graph.
// NOLINTNEXTLINE(performance-no-int-to-ptr): that is its value in cuda.h
const auto kPerThreadStream = reinterpret_cast<StreamHandle>(std::uintptr_t{2});

/// The few calls that this needs, of a library that the process has loaded; null where it lacks
/// them.
struct Calls {
  int (*get_count)(int*) = nullptr;
  int (*get_device)(int*, int) = nullptr;
  int (*get_state)(int, unsigned*, int*) = nullptr;
  int (*retain)(Context*, int) = nullptr;
  int (*release)(int) = nullptr;
  int (*get_current)(Context*) = nullptr;
  int (*set_current)(Context) = nullptr;
  int (*query)(StreamHandle) = nullptr;
  int (*get_error_name)(int, const char**) = nullptr;

  /// Returns whether all are there.
  bool load(void* library) {
    const auto fill = [library](auto*& slot, const char* name) {
      slot = reinterpret_cast<std::remove_reference_t<decltype(slot)>>(::dlsym(library, name));
      return slot != nullptr;
    };
    return fill(get_count, "cuDeviceGetCount") && fill(get_device, "cuDeviceGet") &&
           fill(get_state, "cuDevicePrimaryCtxGetState") &&
           fill(retain, "cuDevicePrimaryCtxRetain") &&
           fill(release, "cuDevicePrimaryCtxRelease_v2") && fill(get_current, "cuCtxGetCurrent") &&
           fill(set_current, "cuCtxSetCurrent") && fill(query, "cuStreamQuery") &&
           fill(get_error_name, "cuGetErrorName");
  }
};

/// Returns the library if the process has it already, and the calls are there.
const Calls* loaded() {
  static std::mutex mutex;
  static Calls calls;
  static bool found = false;  // stays: nobody unloads libcuda
  const std::scoped_lock lock(mutex);
  if (found) return &calls;
  const char* own = std::getenv("IONIAN_CUDA_LIBRARY");
  void* library =
      ::dlopen(own != nullptr && *own != '\0' ? own : "libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  found = library != nullptr && calls.load(library);
  return found ? &calls : nullptr;
}

bool is_broken(int result) {
  switch (result) {
    case kSuccess:
    case kErrorNotReady:
    case kErrorNotInitialised:
    case kErrorDeinitialised:
    case kErrorInvalidContext:
    case kErrorContextDestroyed:
      return false;
    default:
      return result < kFirstCaptureError || result > kLastCaptureError;
  }
}

/// Returns what a call in `context` says. The thread's own is current again afterwards.
int ask(const Calls& calls, Context context, Context own) {
  int result = calls.set_current(context);
  if (result == kSuccess) result = calls.query(kPerThreadStream);
  calls.set_current(own);
  return result;
}

int first_error(const Calls& calls) {
  int count = 0;
  int result = calls.get_count(&count);
  if (result != kSuccess) return result;
  Context own = nullptr;
  if (calls.get_current(&own) == kSuccess && own != nullptr) {
    result = calls.query(kPerThreadStream);
    if (is_broken(result)) return result;
  }
  for (int i = 0; i < count; ++i) {
    int device = 0;
    unsigned flags = 0;
    int active = 0;
    Context primary = nullptr;
    if (calls.get_device(&device, i) != kSuccess) continue;
    if (calls.get_state(device, &flags, &active) != kSuccess || active == 0) continue;
    result = calls.retain(&primary, device);
    if (result == kSuccess) {
      if (primary != own) result = ask(calls, primary, own);
      calls.release(device);
    }
    if (is_broken(result)) return result;
  }
  return kSuccess;
}

}  // namespace

std::string broken_context() {
  const Calls* calls = loaded();
  const int result = calls == nullptr ? kSuccess : first_error(*calls);
  if (!is_broken(result)) return "";
  const char* name = nullptr;
  calls->get_error_name(result, &name);
  return std::string(name == nullptr ? "error" : name) + " (" + std::to_string(result) + ")";
}

}  // namespace ionian::cuda
