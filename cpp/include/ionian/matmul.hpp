// matmul.hpp: out = activation(alpha · scale_a · scale_b · a @ b + beta · c + bias).
//
// On a GPU by cuBLASLt, on the caller's stream; on the host, for simulated GPUs, by the same rules.
// Operands may be stored by rows or by columns, with any distance between them, so transposing is a
// matter of strides. Nothing is copied.
#pragma once

#include <cstdint>

#include "ionian/array.hpp"

extern "C" {
struct CUstream_st;
}

namespace ionian {

/// kGelu is the approximation with tanh, as cuBLASLt has it:
/// x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))). kSilu, x / (1 + e⁻ˣ), is none of cuBLASLt's: on a
/// GPU a kernel of our own goes over `out` after the product, which was rounded to its type by
/// then.
enum class Activation : std::uint8_t { kNone, kRelu, kGelu, kSilu };
[[nodiscard]] const char* to_string(Activation activation) noexcept;

struct MatmulOptions {
  double alpha = 1;
  double beta = 0;
  const Array* c = nullptr;        // of the shape, type and order of `out`; `out` itself is allowed
  const Array* bias = nullptr;     // (n,): added to every row
  const Array* scale_a = nullptr;  // one float32: multiplies a; for float8
  const Array* scale_b = nullptr;
  Activation activation = Activation::kNone;
  bool tf32 = false;  // float32 is rounded to 10 bits of mantissa before multiplying
  CUstream_st* stream = nullptr;
};

/// Returns the element type of a @ b where nothing else is asked for: that of a and b; bfloat16 for
/// float8, int32 for int8. Throws InvalidError for types that cannot be multiplied.
[[nodiscard]] DType matmul_dtype(DType a, DType b);

/// a: (…, m, k), b: (…, k, n), out: (…, m, n). Leading dimensions are batches; those of a and b are
/// broadcast. Products of float16, bfloat16 and float8 are added up in float32, of int8 in int32.
///
/// Returns once the work is enqueued. A call like an earlier one allocates nothing and asks no
/// heuristic, so it can be recorded in a CUDA graph. Thread-safe.
/// Throws InvalidError for shapes, strides, types or devices that do not fit, saying what would;
/// NotFoundError if there is no cuBLASLt, or for kSilu no NVRTC; CudaError.
void matmul(const Array& a, const Array& b, const Array& out, const MatmulOptions& options = {});

}  // namespace ionian
