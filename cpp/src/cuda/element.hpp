// element.hpp: elements of every DType on the host: how one is read, written, and added up.
//
// Small floating-point types are converted exactly to float and back with round to nearest, ties to
// even; what is too large becomes infinity, or NaN where the type has no infinity (float8_e4m3fn),
// as in torch and ml_dtypes. Formats: IEEE 754 binary16, bfloat16, OCP 8-bit floating point 1.0.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "ionian/array.hpp"
#include "ionian/error.hpp"

namespace ionian {

/// A floating-point format of at most 16 bits: sign, `kExponent` bits, `kMantissa` bits.
template <class Bits, int kExponent, int kMantissa, bool kInfinity>
struct SmallFloat {
  static constexpr int kBias = (1 << (kExponent - 1)) - 1;
  static constexpr Bits kMantissaMask = static_cast<Bits>((1U << kMantissa) - 1);
  static constexpr Bits kExponentMask = static_cast<Bits>((1U << kExponent) - 1);
  static constexpr int kSignShift = kExponent + kMantissa;
  /// Returns the largest finite number.
  static double max() {
    const double all = std::ldexp(1.0, 1 << (kExponent - 1));
    return kInfinity ? all - std::ldexp(all, -kMantissa - 1)
                     : 2 * all - std::ldexp(all, -kMantissa + 1);
  }

  static float load(Bits bits) {
    const auto mantissa = static_cast<unsigned>(bits & kMantissaMask);
    const auto exponent = static_cast<unsigned>((bits >> kMantissa) & kExponentMask);
    const float sign = (bits >> kSignShift) != 0 ? -1.0F : 1.0F;
    if (exponent == kExponentMask && (kInfinity || mantissa == kMantissaMask)) {
      return kInfinity && mantissa == 0 ? sign * std::numeric_limits<float>::infinity()
                                        : std::numeric_limits<float>::quiet_NaN();
    }
    const unsigned whole = exponent == 0 ? mantissa : mantissa | (1U << kMantissa);
    const int scale = (exponent == 0 ? 1 : static_cast<int>(exponent)) - kBias - kMantissa;
    return sign * std::ldexp(static_cast<float>(whole), scale);
  }

  static Bits store(float value) {
    const unsigned sign = std::signbit(value) ? 1U << kSignShift : 0U;
    const unsigned top = static_cast<unsigned>(kExponentMask) << kMantissa;
    const unsigned nan = kInfinity ? top | (1U << (kMantissa - 1)) : top | kMantissaMask;
    if (std::isnan(value)) return static_cast<Bits>(sign | nan);
    const double size = std::fabs(static_cast<double>(value));
    if (size == 0) return static_cast<Bits>(sign);
    if (std::isinf(size)) return static_cast<Bits>(sign | (kInfinity ? top : nan));
    int exponent = std::max(std::ilogb(size), 1 - kBias);
    auto whole = static_cast<unsigned>(std::rint(std::ldexp(size, kMantissa - exponent)));
    if (whole == 2U << kMantissa) {
      whole >>= 1;
      ++exponent;
    }
    if (std::ldexp(static_cast<double>(whole), exponent - kMantissa) > max())
      return static_cast<Bits>(sign | (kInfinity ? top : nan));
    const unsigned biased =
        whole < (1U << kMantissa) ? 0U : static_cast<unsigned>(exponent + kBias);
    return static_cast<Bits>(sign | (biased << kMantissa) | (whole & kMantissaMask));
  }
};

using Float16 = SmallFloat<std::uint16_t, 5, 10, true>;
using BFloat16 = SmallFloat<std::uint16_t, 8, 7, true>;
using Float8E4M3 = SmallFloat<std::uint8_t, 4, 3, false>;
using Float8E5M2 = SmallFloat<std::uint8_t, 5, 2, true>;

/// How elements of a type lie in memory (Storage) and are computed with (Value).
template <class Storage_, class Value_, class Format>
struct SmallElement {
  using Storage = Storage_;
  using Value = Value_;
  static Value load(Storage stored) { return Format::load(stored); }
  static Storage store(Value value) { return Format::store(value); }
};
template <class T>
struct PlainElement {
  using Storage = T;
  using Value = T;
  static Value load(Storage stored) { return stored; }
  static Storage store(Value value) { return value; }
};

/// Calls `body` with the element type of `dtype`, e.g. [](auto element) { using E =
/// decltype(element); … }, and returns what it returns.
template <class Body>
decltype(auto) with_element(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::kFloat64:
      return body(PlainElement<double>{});
    case DType::kFloat32:
      return body(PlainElement<float>{});
    case DType::kFloat16:
      return body(SmallElement<std::uint16_t, float, Float16>{});
    case DType::kBFloat16:
      return body(SmallElement<std::uint16_t, float, BFloat16>{});
    case DType::kFloat8E4M3:
      return body(SmallElement<std::uint8_t, float, Float8E4M3>{});
    case DType::kFloat8E5M2:
      return body(SmallElement<std::uint8_t, float, Float8E5M2>{});
    case DType::kInt8:
      return body(PlainElement<std::int8_t>{});
    case DType::kUInt8:
      return body(PlainElement<std::uint8_t>{});
    case DType::kInt32:
      return body(PlainElement<std::int32_t>{});
    case DType::kUInt32:
      return body(PlainElement<std::uint32_t>{});
    case DType::kInt64:
      return body(PlainElement<std::int64_t>{});
    case DType::kUInt64:
      return body(PlainElement<std::uint64_t>{});
  }
  throw InternalError("[array] a type without elements");
}

}  // namespace ionian
