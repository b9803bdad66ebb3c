#include "cuda/bandwidth.hpp"

#include <algorithm>
#include <limits>

#include "cuda/device.hpp"
#include "ionian/array.hpp"

namespace ionian::cuda {
namespace {

constexpr int kCopies = 8;

/// Memory of a GPU, or pinned memory of the host.
struct Place {
  Place(int device, std::size_t bytes) {
    const ContextGuard guard(std::max(device, 0));
    if (device == Array::kHost) {
      pinned = make_pinned_memory(bytes);
      address = reinterpret_cast<DevicePointer>(pinned.get());
    } else {
      memory = make_device_memory(bytes);
      address = memory.get();
    }
  }
  DeviceMemory memory;
  PinnedMemory pinned;
  DevicePointer address = 0;
};

}  // namespace

bool can_access_peer(int device, int peer) {
  int a = 0;
  int b = 0;
  int can = 0;
  check(driver().cuDeviceGet(&a, device), "find a GPU");
  check(driver().cuDeviceGet(&b, peer), "find a GPU");
  check(driver().cuDeviceCanAccessPeer(&can, a, b), "ask about peers");
  return can != 0;
}

double copy_bandwidth(int from, int to, std::size_t bytes) {
  const Driver& cuda = driver();
  const bool peers = from != Array::kHost && to != Array::kHost && from != to;
  const int worker = from == Array::kHost ? to : from;
  const Place source(from, bytes);
  const Place target(to, bytes);
  const ContextGuard guard(worker);
  if (peers && can_access_peer(from, to)) cuda.cuCtxEnablePeerAccess(primary_context(to), 0);
  const Stream stream = make_stream();
  const Event begin = make_event(true);
  const Event end = make_event(true);
  float best = std::numeric_limits<float>::infinity();
  for (int i = 0; i < kCopies; ++i) {
    check(cuda.cuEventRecord(begin.get(), stream.get()), "measure a copy");
    const int copied =
        peers ? cuda.cuMemcpyPeerAsync(target.address, primary_context(to), source.address,
                                       primary_context(from), bytes, stream.get())
              : cuda.cuMemcpyAsync(target.address, source.address, bytes, stream.get());
    check(copied, "copy");
    check(cuda.cuEventRecord(end.get(), stream.get()), "measure a copy");
    check(cuda.cuEventSynchronize(end.get()), "measure a copy");
    float ms = 0;
    check(cuda.cuEventElapsedTime(&ms, begin.get(), end.get()), "measure a copy");
    best = std::min(best, ms);
  }
  return static_cast<double>(bytes) / 1e6 / static_cast<double>(best);
}

}  // namespace ionian::cuda
