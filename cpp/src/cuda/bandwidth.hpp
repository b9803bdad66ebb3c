// bandwidth.hpp: how fast bytes get from one place to another.
#pragma once

#include <cstddef>

namespace ionian::cuda {

/// Returns GB/s (10⁹ bytes) of copies of `bytes` from one GPU to another, or from or to pinned
/// memory of the host (Array::kHost): the best of several. Throws CudaError.
double copy_bandwidth(int from, int to, std::size_t bytes);

/// Returns whether one GPU can read the other's memory directly.
bool can_access_peer(int device, int peer);

}  // namespace ionian::cuda
