// context_health.hpp: is CUDA lost to this process?
#pragma once

#include <string>

namespace ionian::cuda {

/// Returns "" unless a CUDA context of this process is broken: after an illegal address, a failed
/// assertion, an uncorrected memory error and the like every call returns that error until the
/// process ends. Then returns it, e.g. "CUDA_ERROR_ILLEGAL_ADDRESS (700)". Asks only where libcuda
/// is loaded and initialised, waits for no kernel, and makes no context. Looks at the primary
/// contexts and at the calling thread's own. Thread-safe.
std::string broken_context();

}  // namespace ionian::cuda
