// array.hpp: somebody else's array, looked at: where it lies, its type, shape and strides.
//
// Never owns memory. The same type describes arrays of a GPU and of the host, so that a program
// written against simulated GPUs runs unchanged on real ones.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace ionian {

/// Element types. Their names are those of torch, jax and ml_dtypes.
enum class DType : std::uint8_t {
  kFloat64,
  kFloat32,
  kFloat16,
  kBFloat16,
  kFloat8E4M3,  // "float8_e4m3fn": finite, no infinities (OCP FP8)
  kFloat8E5M2,  // "float8_e5m2"
  kInt8,
  kUInt8,
  kInt32,
  kUInt32,
  kInt64,
  kUInt64,
};
inline constexpr std::size_t kDTypes = 12;

/// Returns the bytes of one element.
[[nodiscard]] std::size_t size_of(DType dtype) noexcept;
/// Returns the name, e.g. "bfloat16".
[[nodiscard]] const char* to_string(DType dtype) noexcept;
/// Returns the type of that name, nullopt for any other text.
[[nodiscard]] std::optional<DType> parse_dtype(std::string_view name) noexcept;

/// A view of an array. Strides count elements, not bytes, and may be 0 or negative.
struct Array {
  static constexpr std::size_t kMaxDims = 8;
  static constexpr int kHost = -1;

  Array() noexcept = default;
  /// A row-major array.
  Array(void* data_, DType dtype_, std::span<const std::int64_t> shape_, int device_ = kHost);
  Array(void* data_, DType dtype_, std::initializer_list<std::int64_t> shape_, int device_ = kHost)
      : Array(data_, dtype_, std::span(shape_.begin(), shape_.size()), device_) {}

  [[nodiscard]] std::span<const std::int64_t> shape() const noexcept { return {dims.data(), ndim}; }
  [[nodiscard]] std::span<const std::int64_t> strides() const noexcept {
    return {steps.data(), ndim};
  }
  /// Returns the number of elements; 1 for no dimensions.
  [[nodiscard]] std::int64_t size() const noexcept;
  [[nodiscard]] std::size_t bytes() const noexcept;
  /// Returns whether the elements lie row by row without gaps. Dimensions of length 1 do not count.
  [[nodiscard]] bool is_contiguous() const noexcept;
  [[nodiscard]] bool on_host() const noexcept { return device == kHost; }
  /// Returns e.g. "float32 (128, 64) strides (64, 1) on cuda:0": what errors say of it.
  [[nodiscard]] std::string to_string() const;

  void* data = nullptr;
  DType dtype = DType::kFloat32;
  std::size_t ndim = 0;
  std::array<std::int64_t, kMaxDims> dims{};
  std::array<std::int64_t, kMaxDims> steps{};
  int device = kHost;  // CUDA's number of the GPU in this process, or kHost
};

}  // namespace ionian
