// fork_safety.hpp: may this process still be forked and use CUDA in the child?
#pragma once

#include <string>

namespace ionian::cuda {

/// Returns "" if CUDA was not initialised in this process, else what shows that it was, as a
/// phrase: a context does not survive fork. Loads nothing and initialises nothing: asks libcuda
/// only if the process has it already (cuDeviceGetCount answers CUDA_ERROR_NOT_INITIALIZED before
/// cuInit), and looks for open device files.
std::string initialised();

}  // namespace ionian::cuda
