// kernel.hpp: kernels of our own, compiled from CUDA C++ when they are first used, by NVRTC, which
// is found at run time like every library of the vendor.
#pragma once

#include <string>

#include "cuda/driver.hpp"

namespace ionian::cuda {

/// Returns why there is no NVRTC, "" if there is one. Looks at IONIAN_NVRTC_LIBRARY, then at what
/// the process has loaded already (torch's), then for libnvrtc.so of CUDA 13 and 12.
const std::string& nvrtc_reason();

/// Returns the machine code of `source` for GPUs of compute capability major.minor. `name` stands
/// in messages. Throws NotFoundError if there is no NVRTC, CudaError with the compiler's words.
std::string compile(const char* source, const char* name, int major, int minor);

/// Returns the function of that name in `source`, compiled for a GPU (CUDA's number) and loaded
/// into its primary context, which is current. Never unloaded. Throws as `compile` does.
Function load_kernel(const char* source, const char* name, int device);

}  // namespace ionian::cuda
