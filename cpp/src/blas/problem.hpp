// problem.hpp: a matmul as plain numbers: what a plan is made for, and found by. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "ionian/matmul.hpp"

namespace ionian::blas {

/// How a matrix lies in memory.
struct Matrix {
  std::int64_t ld = 0;      // elements from one row to the next, or column if by_columns
  std::int64_t stride = 0;  // elements from one of the batch to the next, 0 if all are the same
  bool by_columns = false;
  DType dtype = DType::kFloat32;
  std::uint8_t alignment = 0;  // log2 of the bytes that every address of it is a multiple of
  std::array<std::uint8_t, 5> padding{};
};

/// Everything that decides how a matmul is done, and nothing else. Compared and hashed by its
/// bytes: every byte of it is set. `out` and `c` are by rows.
struct Problem {
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  std::int64_t batch = 1;
  Matrix a;
  Matrix b;
  Matrix c;
  Matrix out;
  Activation activation = Activation::kNone;
  DType bias = DType::kFloat32;
  bool has_bias = false;
  bool has_c = false;
  bool has_scale_a = false;
  bool has_scale_b = false;
  bool tf32 = false;
  std::uint8_t padding = 0;

  bool operator==(const Problem& other) const noexcept {
    return std::memcmp(this, &other, sizeof(Problem)) == 0;
  }
  /// Returns it as one line without spaces at its ends: a key in a file.
  [[nodiscard]] std::string to_string() const;
};
static_assert(sizeof(Matrix) == 24 && sizeof(Problem) == 32 + 4 * 24 + 8);

struct ProblemHash {
  std::size_t operator()(const Problem& problem) const noexcept;
};

/// The addresses of one call.
struct Pointers {
  const std::byte* a = nullptr;
  const std::byte* b = nullptr;
  const std::byte* c = nullptr;
  std::byte* out = nullptr;
  const std::byte* bias = nullptr;
  const float* scale_a = nullptr;
  const float* scale_b = nullptr;
};

/// A call: one problem, done once for each step of the outer batch dimensions, those that a single
/// stride cannot walk.
struct Call {
  struct Loop {
    std::int64_t count = 1;
    std::int64_t a = 0;  // strides in bytes
    std::int64_t b = 0;
    std::int64_t c = 0;
    std::int64_t out = 0;
  };
  Problem problem;
  Pointers pointers;
  std::size_t loops = 0;
  std::array<Loop, Array::kMaxDims> loop{};
  bool empty = false;  // out has no elements

  /// Calls body(pointers) for each step.
  template <class Body>
  void each(Body&& body) const {
    step(0, pointers, body);
  }

 private:
  template <class Body>
  void step(std::size_t depth, Pointers at, Body& body) const {
    if (depth == loops) return body(at);
    const Loop& walk = loop[depth];
    for (std::int64_t i = 0; i < walk.count; ++i) {
      step(depth + 1, at, body);
      at.a += walk.a;
      at.b += walk.b;
      if (at.c != nullptr) at.c += walk.c;
      at.out += walk.out;
    }
  }
};

/// Returns the call. Throws InvalidError for what cannot be done.
Call make_call(const Array& a, const Array& b, const Array& out, const MatmulOptions& options);

/// Does it on the host.
void host_matmul(const Call& call, double alpha, double beta);
/// Enqueues it on a GPU.
void device_matmul(const Call& call, double alpha, double beta, int device, CUstream_st* stream);

}  // namespace ionian::blas
