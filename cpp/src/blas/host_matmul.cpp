// The matmul of simulated GPUs: the rules of the device, on the host. Correct before fast.
#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "blas/problem.hpp"
#include "cuda/element.hpp"

namespace ionian::blas {
namespace {

/// Returns the matrix as rows without gaps, in the type that is computed with.
template <class Value>
std::vector<Value> unpacked(const std::byte* data, const Matrix& matrix, std::int64_t rows,
                            std::int64_t columns) {
  std::vector<Value> values(static_cast<std::size_t>(rows * columns));
  with_element(matrix.dtype, [&](auto element) {
    using E = decltype(element);
    using Storage = typename E::Storage;
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = 0; j < columns; ++j) {
        const std::int64_t at = matrix.by_columns ? j * matrix.ld + i : i * matrix.ld + j;
        Storage stored;
        std::memcpy(&stored, data + at * static_cast<std::int64_t>(sizeof(Storage)),
                    sizeof(Storage));
        values[static_cast<std::size_t>(i * columns + j)] =
            static_cast<Value>(E::load(stored));  // NOLINT: int8 too
      }
    }
  });
  return values;
}

/// Rounds to 10 bits of mantissa, as the tensor cores do: to nearest, ties away from zero.
float as_tf32(float value) {
  auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7f800000U) == 0x7f800000U) return value;
  bits += 0x1000U;
  return std::bit_cast<float>(bits & ~0x1fffU);
}

template <class Value>
Value activate(Value x, Activation activation) {
  if (activation == Activation::kRelu) return std::max(x, Value{0});
  if constexpr (std::is_floating_point_v<Value>) {
    constexpr double root = 0.7978845608028654;  // √(2/π)
    if (activation == Activation::kGelu)
      return static_cast<Value>(0.5 * x * (1 + std::tanh(root * (x + 0.044715 * x * x * x))));
    if (activation == Activation::kSilu) return static_cast<Value>(x / (1 + std::exp(-x)));
  }
  return x;
}

template <class Value>
void multiply(const Problem& problem, const Pointers& at, double alpha, double beta) {
  auto a = unpacked<Value>(at.a, problem.a, problem.m, problem.k);
  auto b = unpacked<Value>(at.b, problem.b, problem.k, problem.n);
  if constexpr (std::is_same_v<Value, float>) {
    if (problem.tf32) {
      std::transform(a.begin(), a.end(), a.begin(), as_tf32);
      std::transform(b.begin(), b.end(), b.begin(), as_tf32);
    }
  }
  if (at.scale_a != nullptr) alpha *= *at.scale_a;
  if (at.scale_b != nullptr) alpha *= *at.scale_b;
  const auto rows = static_cast<std::size_t>(problem.m);
  const auto columns = static_cast<std::size_t>(problem.n);
  const auto inner = static_cast<std::size_t>(problem.k);
  std::vector<Value> bias(columns);
  if (problem.has_bias) {
    Matrix row;
    row.ld = problem.n;
    row.dtype = problem.bias;
    bias = unpacked<Value>(at.bias, row, 1, problem.n);
  }
  std::vector<Value> c;
  if (problem.has_c) c = unpacked<Value>(at.c, problem.c, problem.m, problem.n);
  std::vector<Value> sums(columns);
  with_element(problem.out.dtype, [&](auto element) {
    using E = decltype(element);
    using Storage = typename E::Storage;
    for (std::size_t i = 0; i < rows; ++i) {
      std::fill(sums.begin(), sums.end(), Value{0});
      for (std::size_t x = 0; x < inner; ++x) {
        const Value left = a[i * inner + x];
        const Value* right = b.data() + x * columns;
        for (std::size_t j = 0; j < columns; ++j) sums[j] += left * right[j];
      }
      for (std::size_t j = 0; j < columns; ++j) {
        Value value = sums[j];
        if (alpha != 1) value = static_cast<Value>(value * static_cast<Value>(alpha));
        if (problem.has_c)
          value = static_cast<Value>(value + static_cast<Value>(beta) * c[i * columns + j]);
        value = activate(static_cast<Value>(value + bias[j]), problem.activation);
        const Storage stored = E::store(static_cast<typename E::Value>(value));
        const auto place =
            static_cast<std::int64_t>(i) * problem.out.ld + static_cast<std::int64_t>(j);
        std::memcpy(at.out + place * static_cast<std::int64_t>(sizeof(Storage)), &stored,
                    sizeof(Storage));
      }
    }
  });
}

}  // namespace

void host_matmul(const Call& call, double alpha, double beta) {
  const Problem& problem = call.problem;
  call.each([&](Pointers at) {
    for (std::int64_t i = 0; i < problem.batch; ++i) {
      if (problem.a.dtype == DType::kFloat64) {
        multiply<double>(problem, at, alpha, beta);
      } else if (problem.a.dtype == DType::kInt8) {
        multiply<std::int32_t>(problem, at, alpha, beta);
      } else {
        multiply<float>(problem, at, alpha, beta);
      }
      const auto next = [](const Matrix& matrix) {
        return matrix.stride * static_cast<std::int64_t>(size_of(matrix.dtype));
      };
      at.a += next(problem.a);
      at.b += next(problem.b);
      at.c += next(problem.c);
      at.out += next(problem.out);
    }
  });
}

}  // namespace ionian::blas
