// rate.hpp: how fast a GPU multiplies.
#pragma once

#include "ionian/array.hpp"

namespace ionian::blas {

/// Returns TFLOP/s (10¹²) of n × n products of `dtype`, a by rows and b by columns: the best of
/// several. Throws CudaError, InvalidError for a type that the GPU lacks.
double matmul_rate(int device, DType dtype, std::int64_t n);

}  // namespace ionian::blas
