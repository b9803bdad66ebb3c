// device.hpp: owners of what the CUDA driver lends: a current context, streams, events, memory.
//
// All are move-only, free what they own in the destructor, and throw CudaError.
#pragma once

#include <cstddef>
#include <utility>

#include "cuda/driver.hpp"

namespace ionian::cuda {

/// Returns the primary context of a GPU (CUDA's number in this process): the one that torch, cupy
/// and the CUDA runtime use. Retained at the first call, for as long as the process lives.
Context primary_context(int device);

/// Returns how many GPUs CUDA shows this process.
int device_count();

/// Makes a GPU's primary context current in this thread, and puts the former one back at the end.
class ContextGuard {
 public:
  explicit ContextGuard(int device);
  ~ContextGuard();
  ContextGuard(const ContextGuard&) = delete;
  ContextGuard& operator=(const ContextGuard&) = delete;

 private:
  Context former_ = nullptr;
  bool changed_ = false;
};

/// Lets this thread allocate while some stream of the process records a graph, which would spoil
/// the recording otherwise.
class CaptureGuard {
 public:
  CaptureGuard();
  ~CaptureGuard();
  CaptureGuard(const CaptureGuard&) = delete;
  CaptureGuard& operator=(const CaptureGuard&) = delete;

 private:
  int mode_ = kCaptureRelaxed;
};

/// Owns one handle of the driver; `Traits::destroy` frees it.
template <class Handle, class Traits>
class Owner {
 public:
  Owner() noexcept = default;
  explicit Owner(Handle handle) noexcept : handle_(handle) {}
  Owner(Owner&& other) noexcept : handle_(std::exchange(other.handle_, Handle{})) {}
  Owner& operator=(Owner&& other) noexcept {
    if (this != &other) {
      reset();
      handle_ = std::exchange(other.handle_, Handle{});
    }
    return *this;
  }
  Owner(const Owner&) = delete;
  Owner& operator=(const Owner&) = delete;
  ~Owner() { reset(); }

  [[nodiscard]] Handle get() const noexcept { return handle_; }
  [[nodiscard]] explicit operator bool() const noexcept { return handle_ != Handle{}; }
  void reset() noexcept {
    if (handle_ != Handle{}) Traits::destroy(std::exchange(handle_, Handle{}));
  }

 private:
  Handle handle_{};
};

struct StreamTraits {
  static void destroy(StreamHandle handle) noexcept;
};
struct EventTraits {
  static void destroy(EventHandle handle) noexcept;
};
struct DeviceMemoryTraits {
  static void destroy(DevicePointer pointer) noexcept;
};
struct PinnedMemoryTraits {
  static void destroy(void* pointer) noexcept;
};

using Stream = Owner<StreamHandle, StreamTraits>;
using Event = Owner<EventHandle, EventTraits>;
using DeviceMemory = Owner<DevicePointer, DeviceMemoryTraits>;
using PinnedMemory = Owner<void*, PinnedMemoryTraits>;

// All of these act on the current context.
Stream make_stream();
Event make_event(bool timing = false);
DeviceMemory make_device_memory(std::size_t bytes);
PinnedMemory make_pinned_memory(std::size_t bytes);

}  // namespace ionian::cuda
