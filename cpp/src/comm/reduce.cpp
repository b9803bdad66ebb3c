#include "comm/reduce.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "cuda/element.hpp"

namespace ionian {
namespace {

/// Adds and multiplies integers modulo their width; everything else as the type does.
template <class Value>
Value combine(ReduceOp op, Value a, Value b) {
  if constexpr (std::is_integral_v<Value>) {
    using Wide = std::make_unsigned_t<std::common_type_t<Value, int>>;
    switch (op) {
      case ReduceOp::kProd:
        return static_cast<Value>(static_cast<Wide>(a) * static_cast<Wide>(b));
      case ReduceOp::kMax:
        return std::max(a, b);
      case ReduceOp::kMin:
        return std::min(a, b);
      case ReduceOp::kSum:
      case ReduceOp::kAvg:
        break;
    }
    return static_cast<Value>(static_cast<Wide>(a) + static_cast<Wide>(b));
  } else {
    switch (op) {
      case ReduceOp::kProd:
        return a * b;
      case ReduceOp::kMax:
        return std::isnan(a) || a > b ? a : b;  // NaN wins, as in NCCL
      case ReduceOp::kMin:
        return std::isnan(a) || a < b ? a : b;
      case ReduceOp::kSum:
      case ReduceOp::kAvg:
        break;
    }
    return a + b;
  }
}

template <class Storage>
Storage read(const std::byte* data, std::size_t i) {
  Storage stored;
  std::memcpy(&stored, data + i * sizeof(Storage), sizeof(Storage));
  return stored;
}

}  // namespace

void reduce_on_host(DType dtype, ReduceOp op, std::span<const std::byte* const> inputs,
                    std::byte* out, std::size_t count) {
  with_element(dtype, [&](auto element) {
    using E = decltype(element);
    using Storage = typename E::Storage;
    for (std::size_t i = 0; i < count; ++i) {
      auto value = E::load(read<Storage>(inputs[0], i));
      for (std::size_t rank = 1; rank < inputs.size(); ++rank)
        value = combine(op, value, E::load(read<Storage>(inputs[rank], i)));
      if (op == ReduceOp::kAvg)
        value = static_cast<decltype(value)>(value / static_cast<decltype(value)>(inputs.size()));
      const Storage stored = E::store(value);
      std::memcpy(out + i * sizeof(Storage), &stored, sizeof(Storage));
    }
  });
}

}  // namespace ionian
