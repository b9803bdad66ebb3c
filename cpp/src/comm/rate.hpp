// rate.hpp: how fast GPUs reduce.
#pragma once

#include <cstddef>
#include <vector>

namespace ionian {

/// Returns the bus bandwidth in GB/s of an all-reduce of `bytes` of float32 between these GPUs, as
/// nccl-tests defines it: bytes / time · 2 (n − 1) / n. Throws CudaError, TimeoutError.
double all_reduce_bandwidth(const std::vector<int>& devices, std::size_t bytes);

}  // namespace ionian
