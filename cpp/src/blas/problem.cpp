#include "blas/problem.hpp"

#include <algorithm>
#include <bit>
#include <optional>
#include <string_view>
#include <vector>

#include "ionian/error.hpp"

namespace ionian::blas {
namespace {

[[noreturn]] void refuse(const std::string& received, const std::string& expected) {
  throw InvalidError("[matmul] " + received + "; expected " + expected);
}

bool is_float8(DType dtype) { return dtype == DType::kFloat8E4M3 || dtype == DType::kFloat8E5M2; }

/// Returns the types that a @ b can be written as, the default first; empty if it cannot be done.
std::vector<DType> results(DType a, DType b) {
  if (is_float8(a) && is_float8(b)) {
    if (a == DType::kFloat8E5M2 && b == a) return {};
    return {DType::kBFloat16, DType::kFloat16, DType::kFloat32};
  }
  if (a != b) return {};
  switch (a) {
    case DType::kFloat64:
    case DType::kFloat32:
      return {a};
    case DType::kFloat16:
    case DType::kBFloat16:
      return {a, DType::kFloat32};
    case DType::kInt8:
      return {DType::kInt32};
    default:
      return {};
  }
}

constexpr const char* kPairs =
    "two of float64, float32, float16, bfloat16 or int8, or float8_e4m3fn with float8_e4m3fn or "
    "float8_e5m2";

void check_types(const Array& a, const Array& b, const Array& out) {
  const auto possible = results(a.dtype, b.dtype);
  if (possible.empty()) refuse("a is " + a.to_string() + ", b is " + b.to_string(), kPairs);
  if (std::find(possible.begin(), possible.end(), out.dtype) != possible.end()) return;
  std::string names;
  for (const DType dtype : possible)
    names += std::string(names.empty() ? "" : " or ") + to_string(dtype);
  refuse("out is " + out.to_string() + " for " + to_string(a.dtype) + " operands", names);
}

std::int64_t dim(const Array& array, std::size_t from_end) {
  return array.dims[array.ndim - from_end];
}
std::int64_t step(const Array& array, std::size_t from_end) {
  return array.steps[array.ndim - from_end];
}

/// Returns how the last two dimensions lie, nullopt if neither rows nor columns are without gaps.
std::optional<Matrix> layout(const Array& array) {
  const std::int64_t rows = dim(array, 2);
  const std::int64_t columns = dim(array, 1);
  const std::int64_t down = step(array, 2);
  const std::int64_t across = step(array, 1);
  Matrix matrix;
  matrix.dtype = array.dtype;
  if (array.size() == 0) {  // its strides can be anything
    matrix.ld = std::max<std::int64_t>(columns, 1);
    return matrix;
  }
  if (columns <= 1 || across == 1) {
    matrix.ld = rows <= 1 ? std::max<std::int64_t>(columns, 1) : down;
    if (matrix.ld >= columns && matrix.ld >= 1) return matrix;
  }
  if (rows <= 1 || down == 1) {
    matrix.by_columns = true;
    matrix.ld = columns <= 1 ? std::max<std::int64_t>(rows, 1) : across;
    if (matrix.ld >= rows && matrix.ld >= 1) return matrix;
  }
  return std::nullopt;
}

Matrix layout_of(const Array& array, const char* name) {
  const auto matrix = layout(array);
  if (!matrix) {
    refuse(std::string(name) + " is " + array.to_string(),
           "a stride of 1 along one of its last two dimensions\nnext: make it contiguous");
  }
  return *matrix;
}

std::uint8_t alignment_of(const Array& array, const Matrix& matrix) {
  const auto each = static_cast<std::uint64_t>(size_of(array.dtype));
  const std::uint64_t bits = reinterpret_cast<std::uintptr_t>(array.data) |
                             static_cast<std::uint64_t>(matrix.stride) * each | std::uint64_t{256};
  return static_cast<std::uint8_t>(std::countr_zero(bits));
}

/// One batch dimension, with the strides of all operands in elements.
struct Batch {
  std::int64_t count;
  std::array<std::int64_t, 4> strides;  // a, b, c, out
};

/// Returns the stride of `array` along the batch dimension `from_end` of out, 0 if broadcast.
std::int64_t batch_stride(const Array& array, std::size_t from_end) {
  if (array.ndim < from_end || dim(array, from_end) == 1) return 0;
  return step(array, from_end);
}

void check_shapes(const Array& a, const Array& b, const Array& out) {
  if (a.ndim < 2 || b.ndim < 2 || out.ndim < 2)
    refuse("a is " + a.to_string() + ", b is " + b.to_string() + ", out is " + out.to_string(),
           "at least two dimensions each");
  const auto all = [&] {
    return "a is " + a.to_string() + ", b is " + b.to_string() + ", out is " + out.to_string();
  };
  if (dim(a, 1) != dim(b, 2)) refuse(all(), "as many columns of a as rows of b");
  if (dim(out, 2) != dim(a, 2) || dim(out, 1) != dim(b, 1)) {
    refuse(all(), "out (…, " + std::to_string(dim(a, 2)) + ", " + std::to_string(dim(b, 1)) + ")");
  }
  if (out.ndim != std::max(a.ndim, b.ndim)) refuse(all(), "the batch dimensions of a and b");
  for (std::size_t i = 3; i <= out.ndim; ++i) {
    const std::int64_t of_a = a.ndim < i ? 1 : dim(a, i);
    const std::int64_t of_b = b.ndim < i ? 1 : dim(b, i);
    const std::int64_t wanted = of_a == 1 ? of_b : of_a;
    if ((of_a != 1 && of_b != 1 && of_a != of_b) || dim(out, i) != wanted)
      refuse(all(), "batch dimensions that are equal, or 1");
  }
}

void check_scale(const Array* scale, const char* name, int device) {
  if (scale == nullptr) return;
  if (scale->dtype != DType::kFloat32 || scale->size() != 1 || scale->device != device)
    refuse(std::string(name) + " is " + scale->to_string(), "one float32 where a and b are");
}

void check_others(const Array& a, const Array& b, const Array& out, const MatmulOptions& options) {
  if (a.device != b.device || a.device != out.device) {
    refuse("a is " + a.to_string() + ", b is " + b.to_string() + ", out is " + out.to_string(),
           "all on one device");
  }
  if (options.c != nullptr) {
    const Array& c = *options.c;
    if (c.dtype != out.dtype || c.device != out.device ||
        !std::equal(c.shape().begin(), c.shape().end(), out.shape().begin(), out.shape().end()))
      refuse("c is " + c.to_string() + ", out is " + out.to_string(), "c like out");
  } else if (options.beta != 0) {
    refuse("beta is " + std::to_string(options.beta) + " without c", "c, or beta 0");
  }
  if (options.bias != nullptr) {
    const Array& bias = *options.bias;
    if (bias.ndim != 1 || bias.size() != dim(out, 1) || !bias.is_contiguous() ||
        bias.device != out.device || bias.dtype != out.dtype) {
      refuse("bias is " + bias.to_string() + ", out is " + out.to_string(),
             std::string(to_string(out.dtype)) + " (" + std::to_string(dim(out, 1)) +
                 ",) without gaps");
    }
  }
  if (options.activation == Activation::kSilu && out.dtype == DType::kInt32)
    refuse("activation is silu, out is " + out.to_string(), "an out of floating-point numbers");
  check_scale(options.scale_a, "scale_a", a.device);
  check_scale(options.scale_b, "scale_b", a.device);
}

/// Folds a batch of a with one b into one tall matrix: one large product is faster than many.
void fold(Problem& problem) {
  const auto follows = [&](const Matrix& matrix) {
    return !matrix.by_columns && matrix.stride == problem.m * matrix.ld;
  };
  if (problem.batch == 1 || problem.b.stride != 0 || !follows(problem.a) || !follows(problem.out))
    return;
  if (problem.has_c && !follows(problem.c)) return;
  problem.m *= problem.batch;
  problem.batch = 1;
  problem.a.stride = problem.c.stride = problem.out.stride = 0;
}

}  // namespace

std::string Problem::to_string() const {
  std::string text;
  const auto add = [&text](std::int64_t number) {
    if (!text.empty()) text += ',';
    text += std::to_string(number);
  };
  for (const auto number : {m, n, k, batch}) add(number);
  for (const Matrix* matrix : {&a, &b, &c, &out}) {
    add(matrix->ld);
    add(matrix->stride);
    add(matrix->by_columns ? 1 : 0);
    add(static_cast<int>(matrix->dtype));
    add(matrix->alignment);
  }
  add(static_cast<int>(activation));
  add(static_cast<int>(bias));
  for (const bool flag : {has_bias, has_c, has_scale_a, has_scale_b, tf32}) add(flag ? 1 : 0);
  return text;
}

std::size_t ProblemHash::operator()(const Problem& problem) const noexcept {
  return std::hash<std::string_view>{}({reinterpret_cast<const char*>(&problem), sizeof(problem)});
}

Call make_call(const Array& a, const Array& b, const Array& out, const MatmulOptions& options) {
  check_shapes(a, b, out);
  check_types(a, b, out);
  check_others(a, b, out, options);
  Call call;
  call.empty = out.size() == 0;
  Problem& problem = call.problem;
  problem.m = dim(a, 2);
  problem.n = dim(b, 1);
  problem.k = dim(a, 1);
  problem.a = layout_of(a, "a");
  problem.b = layout_of(b, "b");
  problem.out = layout_of(out, "out");
  const Array& c = options.c != nullptr ? *options.c : out;
  problem.c = layout_of(c, "c");
  problem.has_c = options.c != nullptr;
  problem.has_bias = options.bias != nullptr;
  if (problem.has_bias) problem.bias = options.bias->dtype;
  problem.activation = options.activation;
  problem.tf32 = options.tf32 && a.dtype == DType::kFloat32;
  call.pointers.a = static_cast<const std::byte*>(a.data);
  call.pointers.b = static_cast<const std::byte*>(b.data);
  call.pointers.c = static_cast<const std::byte*>(c.data);
  call.pointers.out = static_cast<std::byte*>(out.data);
  if (problem.has_bias) call.pointers.bias = static_cast<const std::byte*>(options.bias->data);
  if (options.scale_a != nullptr) {
    problem.has_scale_a = true;
    call.pointers.scale_a = static_cast<const float*>(options.scale_a->data);
  }
  if (options.scale_b != nullptr) {
    problem.has_scale_b = true;
    call.pointers.scale_b = static_cast<const float*>(options.scale_b->data);
  }
  // Neighbouring batch dimensions that one stride walks for every operand are one.
  std::vector<Batch> batches;  // innermost first
  for (std::size_t i = 3; i <= out.ndim; ++i) {
    const std::int64_t count = dim(out, i);
    if (count == 1) continue;
    const Batch next{count,
                     {batch_stride(a, i), batch_stride(b, i), batch_stride(c, i), step(out, i)}};
    if (!batches.empty()) {
      Batch& last = batches.back();
      bool one = true;
      for (std::size_t x = 0; x < 4; ++x)
        one = one && next.strides[x] == last.strides[x] * last.count;
      if (one) {
        last.count *= count;
        continue;
      }
    }
    batches.push_back(next);
  }
  if (!batches.empty()) {
    const Batch& inner = batches.front();
    problem.batch = inner.count;
    problem.a.stride = inner.strides[0];
    problem.b.stride = inner.strides[1];
    problem.c.stride = inner.strides[2];
    problem.out.stride = inner.strides[3];
  }
  for (std::size_t i = batches.size(); i > 1; --i) {
    const auto& strides = batches[i - 1].strides;
    const auto bytes = [](std::int64_t elements, DType dtype) {
      return elements * static_cast<std::int64_t>(size_of(dtype));
    };
    call.loop[call.loops++] = {batches[i - 1].count, bytes(strides[0], a.dtype),
                               bytes(strides[1], b.dtype), bytes(strides[2], c.dtype),
                               bytes(strides[3], out.dtype)};
  }
  problem.a.alignment = alignment_of(a, problem.a);
  problem.b.alignment = alignment_of(b, problem.b);
  problem.c.alignment = alignment_of(c, problem.c);
  problem.out.alignment = alignment_of(out, problem.out);
  if (problem.c.by_columns != problem.out.by_columns)
    refuse("c is " + c.to_string() + ", out is " + out.to_string(),
           "both by rows or both by columns");
  if (problem.out.by_columns) {
    // out by columns is its transpose by rows: outᵀ = bᵀ aᵀ.
    if (problem.has_bias) refuse("out is " + out.to_string() + " with a bias", "out by rows");
    std::swap(problem.m, problem.n);
    std::swap(problem.a, problem.b);
    problem.a.by_columns = !problem.a.by_columns;
    problem.b.by_columns = !problem.b.by_columns;
    problem.c.by_columns = problem.out.by_columns = false;
    std::swap(problem.has_scale_a, problem.has_scale_b);
    std::swap(call.pointers.a, call.pointers.b);
    std::swap(call.pointers.scale_a, call.pointers.scale_b);
    for (std::size_t i = 0; i < call.loops; ++i) std::swap(call.loop[i].a, call.loop[i].b);
  }
  fold(problem);
  return call;
}

}  // namespace ionian::blas

namespace ionian {

const char* to_string(Activation activation) noexcept {
  switch (activation) {
    case Activation::kRelu:
      return "relu";
    case Activation::kGelu:
      return "gelu";
    case Activation::kSilu:
      return "silu";
    case Activation::kNone:
      break;
  }
  return "none";
}

DType matmul_dtype(DType a, DType b) {
  const auto possible = blas::results(a, b);
  if (possible.empty()) {
    blas::refuse(std::string("a is ") + to_string(a) + ", b is " + to_string(b), blas::kPairs);
  }
  return possible.front();
}

void matmul(const Array& a, const Array& b, const Array& out, const MatmulOptions& options) {
  const blas::Call call = blas::make_call(a, b, out, options);
  if (call.empty) return;
  if (out.on_host()) return blas::host_matmul(call, options.alpha, options.beta);
  blas::device_matmul(call, options.alpha, options.beta, out.device, options.stream);
}

}  // namespace ionian
