#include "ionian/array.hpp"

#include "ionian/error.hpp"

namespace ionian {
namespace {

struct DTypeTraits {
  const char* name;
  std::size_t size;
};

constexpr std::array<DTypeTraits, kDTypes> kTraits = {{{"float64", 8},
                                                       {"float32", 4},
                                                       {"float16", 2},
                                                       {"bfloat16", 2},
                                                       {"float8_e4m3fn", 1},
                                                       {"float8_e5m2", 1},
                                                       {"int8", 1},
                                                       {"uint8", 1},
                                                       {"int32", 4},
                                                       {"uint32", 4},
                                                       {"int64", 8},
                                                       {"uint64", 8}}};

const DTypeTraits& traits(DType dtype) noexcept { return kTraits[static_cast<std::size_t>(dtype)]; }

std::string in_parentheses(std::span<const std::int64_t> numbers) {
  std::string text = "(";
  for (std::size_t i = 0; i < numbers.size(); ++i)
    text += (i == 0 ? "" : ", ") + std::to_string(numbers[i]);
  return text + (numbers.size() == 1 ? ",)" : ")");
}

}  // namespace

std::size_t size_of(DType dtype) noexcept { return traits(dtype).size; }

const char* to_string(DType dtype) noexcept { return traits(dtype).name; }

std::optional<DType> parse_dtype(std::string_view name) noexcept {
  for (std::size_t i = 0; i < kDTypes; ++i) {
    if (name == kTraits[i].name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

Array::Array(void* data_, DType dtype_, std::span<const std::int64_t> shape_, int device_)
    : data(data_), dtype(dtype_), ndim(shape_.size()), device(device_) {
  if (ndim > kMaxDims) {
    throw InvalidError("[array] " + std::to_string(ndim) + " dimensions; at most " +
                       std::to_string(kMaxDims) + " are supported");
  }
  std::int64_t step = 1;
  for (std::size_t i = ndim; i-- > 0;) {
    dims[i] = shape_[i];
    steps[i] = step;
    step *= shape_[i];
  }
}

std::int64_t Array::size() const noexcept {
  std::int64_t count = 1;
  for (const std::int64_t length : shape()) count *= length;
  return count;
}

std::size_t Array::bytes() const noexcept {
  return static_cast<std::size_t>(size()) * size_of(dtype);
}

bool Array::is_contiguous() const noexcept {
  if (size() == 0) return true;
  std::int64_t step = 1;
  for (std::size_t i = ndim; i-- > 0;) {
    if (dims[i] == 1) continue;
    if (steps[i] != step) return false;
    step *= dims[i];
  }
  return true;
}

std::string Array::to_string() const {
  std::string text = std::string(ionian::to_string(dtype)) + " " + in_parentheses(shape());
  if (!is_contiguous()) text += " strides " + in_parentheses(strides());
  return text + (on_host() ? " on the host" : " on cuda:" + std::to_string(device));
}

}  // namespace ionian
