#include "cuda/device.hpp"

#include <map>
#include <mutex>

namespace ionian::cuda {

Context primary_context(int device) {
  static std::mutex mutex;
  static std::map<int, Context> contexts;
  const Driver& cuda = driver();
  const std::lock_guard lock(mutex);
  Context& context = contexts[device];
  if (context == nullptr) {
    int handle = 0;
    check(cuda.cuDeviceGet(&handle, device), "find the GPU");
    check(cuda.cuDevicePrimaryCtxRetain(&context, handle), "open the GPU");
  }
  return context;
}

int device_count() {
  int count = 0;
  check(driver().cuDeviceGetCount(&count), "count the GPUs");
  return count;
}

ContextGuard::ContextGuard(int device) {
  const Driver& cuda = driver();
  const Context wanted = primary_context(device);
  check(cuda.cuCtxGetCurrent(&former_), "look at the current context");
  if (former_ == wanted) return;
  check(cuda.cuCtxSetCurrent(wanted), "use the GPU");
  changed_ = true;
}

ContextGuard::~ContextGuard() {
  if (changed_) driver().cuCtxSetCurrent(former_);
}

CaptureGuard::CaptureGuard() { driver().cuThreadExchangeStreamCaptureMode(&mode_); }
CaptureGuard::~CaptureGuard() { driver().cuThreadExchangeStreamCaptureMode(&mode_); }

void StreamTraits::destroy(StreamHandle handle) noexcept {
  find_driver()->cuStreamDestroy_v2(handle);
}
void EventTraits::destroy(EventHandle handle) noexcept { find_driver()->cuEventDestroy_v2(handle); }
void DeviceMemoryTraits::destroy(DevicePointer pointer) noexcept {
  find_driver()->cuMemFree_v2(pointer);
}
void PinnedMemoryTraits::destroy(void* pointer) noexcept { find_driver()->cuMemFreeHost(pointer); }

Stream make_stream() {
  StreamHandle handle = nullptr;
  check(driver().cuStreamCreate(&handle, kStreamNonBlocking), "create a stream");
  return Stream(handle);
}

Event make_event(bool timing) {
  EventHandle handle = nullptr;
  check(driver().cuEventCreate(&handle, timing ? 0 : kEventDisableTiming), "create an event");
  return Event(handle);
}

DeviceMemory make_device_memory(std::size_t bytes) {
  DevicePointer pointer = 0;
  check(driver().cuMemAlloc_v2(&pointer, bytes), "allocate memory of the GPU");
  return DeviceMemory(pointer);
}

PinnedMemory make_pinned_memory(std::size_t bytes) {
  void* pointer = nullptr;
  check(driver().cuMemHostAlloc(&pointer, bytes, 0), "allocate pinned memory");
  return PinnedMemory(pointer);
}

}  // namespace ionian::cuda
