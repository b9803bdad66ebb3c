// activation.hpp: activations that cuBLASLt does not have, as kernels that go over the result.
#pragma once

#include "blas/problem.hpp"
#include "cuda/driver.hpp"

namespace ionian::blas {

/// Returns the CUDA C++ of `silu`, with a function "silu_<dtype>" for each floating-point type of a
/// result. Needs no header.
const char* silu_source();

/// Enqueues out = out / (1 + e^-out) over the result of `problem` at `out`. The GPU's context is
/// current. The first call of a type on a GPU compiles the kernel. Thread-safe. Throws
/// NotFoundError if there is no NVRTC, CudaError.
void silu(const Problem& problem, std::byte* out, int device, cuda::StreamHandle stream);

}  // namespace ionian::blas
