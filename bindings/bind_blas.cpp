// ionian.blas: matmul.
#include <pybind11/pybind11.h>

#include "array.hpp"
#include "bindings.hpp"
#include "blas/cublaslt_api.hpp"
#include "blas/rate.hpp"
#include "blas/tuner.hpp"
#include "ionian/matmul.hpp"

namespace py = pybind11;

namespace {

using ionian::Array;
using ionian::DType;
using ionian::InvalidError;

[[noreturn]] void unknown(const char* name, const std::string& received, const char* expected) {
  throw InvalidError(std::string("[matmul] ") + name + "=" + received + "; expected " + expected);
}

ionian::Activation parse_activation(const py::object& value) {
  if (value.is_none()) return ionian::Activation::kNone;
  const std::string text = py::str(value);
  if (text == "relu") return ionian::Activation::kRelu;
  if (text == "gelu") return ionian::Activation::kGelu;
  if (text == "silu") return ionian::Activation::kSilu;
  unknown("activation", py::repr(value), "None, 'relu', 'gelu' (of tanh) or 'silu'");
}

bool parse_precision(const py::object& value) {
  if (value.is_none()) return false;
  if (std::string(py::str(value)) == "tf32") return true;
  unknown("precision", py::repr(value), "None or 'tf32'");
}

/// Takes a name, a dtype of numpy ("float32" by its name) or of torch ("torch.float32").
DType parse_dtype(const py::object& value) {
  std::string text = py::str(py::hasattr(value, "name") ? value.attr("name") : value);
  const std::string prefix = "torch.";
  if (text.starts_with(prefix)) text = text.substr(prefix.size());
  const auto dtype = ionian::parse_dtype(text);
  if (!dtype) unknown("out_dtype", py::repr(value), "a type such as 'float32' or 'bfloat16'");
  return *dtype;
}

void transpose(Array& array, const char* name) {
  if (array.ndim < 2)
    throw InvalidError(std::string("[matmul] transpose_") + name + " for " + array.to_string() +
                       "; expected at least two dimensions");
  std::swap(array.dims[array.ndim - 1], array.dims[array.ndim - 2]);
  std::swap(array.steps[array.ndim - 1], array.steps[array.ndim - 2]);
}

/// Gives a vector a second dimension of length 1, at its end or before it.
void widen(Array& array, bool column) {
  array.ndim = 2;
  array.dims[1] = column ? 1 : array.dims[0];
  array.steps[1] = column ? 1 : array.steps[0];
  if (column) return;
  array.dims[0] = 1;
  array.steps[0] = array.dims[1];
}

/// Returns the shape of a @ b, in `shape`.
std::size_t result_shape(const Array& a, const Array& b,
                         std::array<std::int64_t, Array::kMaxDims>& shape) {
  if (a.ndim < 2 || b.ndim < 2)
    throw InvalidError("[matmul] a is " + a.to_string() + ", b is " + b.to_string() +
                       "; expected at least one dimension each");
  const std::size_t ndim = std::max(a.ndim, b.ndim);
  for (std::size_t i = 0; i + 2 < ndim; ++i) {
    const std::size_t from_end = ndim - i;
    const std::int64_t of_a = a.ndim < from_end ? 1 : a.dims[a.ndim - from_end];
    const std::int64_t of_b = b.ndim < from_end ? 1 : b.dims[b.ndim - from_end];
    shape[i] = of_a == 1 ? of_b : of_a;
  }
  shape[ndim - 2] = a.dims[a.ndim - 2];
  shape[ndim - 1] = b.dims[b.ndim - 1];
  return ndim;
}

py::object matmul(const py::object& a_, const py::object& b_, const py::object& out_,
                  const py::object& bias_, const py::object& activation, double alpha, double beta,
                  const py::object& c_, const py::object& scale_a_, const py::object& scale_b_,
                  const py::object& out_dtype, const py::object& precision, bool transpose_a,
                  bool transpose_b, const py::object& stream_) {
  BoundArray a = as_array(a_, "a", false);
  BoundArray b = as_array(b_, "b", false);
  const bool a_is_vector = a.array.ndim == 1;
  const bool b_is_vector = b.array.ndim == 1;
  if (a_is_vector) widen(a.array, false);
  if (b_is_vector) widen(b.array, true);
  if (transpose_a) transpose(a.array, "a");
  if (transpose_b) transpose(b.array, "b");
  ionian::MatmulOptions options;
  options.alpha = alpha;
  options.beta = beta;
  options.activation = parse_activation(activation);
  options.tf32 = parse_precision(precision);
  std::optional<BoundArray> c;
  std::optional<BoundArray> bias;
  std::optional<BoundArray> scale_a;
  std::optional<BoundArray> scale_b;
  const auto take = [](std::optional<BoundArray>& into, const py::object& object,
                       const char* name) {
    if (object.is_none()) return static_cast<const Array*>(nullptr);
    into = as_array(object, name, false);
    return static_cast<const Array*>(&into->array);
  };
  options.c = take(c, c_, "c");
  options.bias = take(bias, bias_, "bias");
  options.scale_a = take(scale_a, scale_a_, "scale_a");
  options.scale_b = take(scale_b, scale_b_, "scale_b");
  py::object result = out_;
  if (out_.is_none()) {
    std::array<std::int64_t, Array::kMaxDims> shape{};
    std::size_t ndim = result_shape(a.array, b.array, shape);
    if (a_is_vector) {
      shape[ndim - 2] = shape[ndim - 1];
      --ndim;
    }
    if (b_is_vector) --ndim;
    const DType dtype = out_dtype.is_none() ? ionian::matmul_dtype(a.array.dtype, b.array.dtype)
                                            : parse_dtype(out_dtype);
    result = new_like(a, {shape.data(), ndim}, dtype);
  }
  BoundArray out = as_array(result, "out", true);
  if (!out_.is_none() && !out_dtype.is_none() && out.array.dtype != parse_dtype(out_dtype))
    unknown("out_dtype", py::repr(out_dtype), "that of out, where out is given");
  const auto again = [](Array& array, std::size_t at) {  // the dimension that a vector lacks
    for (std::size_t i = array.ndim; i > at; --i) {
      array.dims[i] = array.dims[i - 1];
      array.steps[i] = array.steps[i - 1];
    }
    array.dims[at] = 1;
    array.steps[at] = at < array.ndim ? array.dims[at + 1] * array.steps[at + 1] : 1;
    ++array.ndim;
  };
  if (a_is_vector) again(out.array, out.array.ndim - (b_is_vector ? 0 : 1));
  if (b_is_vector) again(out.array, out.array.ndim);
  options.stream = stream_for(stream_, {&out, &a, &b});
  if (out.array.on_host()) {
    const py::gil_scoped_release release;
    ionian::matmul(a.array, b.array, out.array, options);
  } else {
    ionian::matmul(a.array, b.array, out.array, options);
  }
  return result;
}

}  // namespace

void bind_blas(py::module_& m) {
  m.def("matmul", &matmul, py::arg("a"), py::arg("b"), py::kw_only(), py::arg("out") = py::none(),
        py::arg("bias") = py::none(), py::arg("activation") = py::none(), py::arg("alpha") = 1.0,
        py::arg("beta") = 0.0, py::arg("c") = py::none(), py::arg("scale_a") = py::none(),
        py::arg("scale_b") = py::none(), py::arg("out_dtype") = py::none(),
        py::arg("precision") = py::none(), py::arg("transpose_a") = false,
        py::arg("transpose_b") = false, py::arg("stream") = py::none());
  m.def(
      "matmul_rate",
      [](int device, const std::string& dtype, std::int64_t n) {
        return ionian::blas::matmul_rate(device, parse_dtype(py::str(dtype)), n);
      },
      py::arg("device"), py::arg("dtype"), py::arg("n"), "TFLOP/s of n × n products.");
  m.def("cublaslt_reason", &ionian::cublaslt::reason,
        "Why there is no cuBLASLt, \"\" if there is one.");
  m.def("cublaslt_path",
        [] { return ionian::cublaslt::find() == nullptr ? "" : ionian::cublaslt::find()->path; });
  m.def(
      "finish_tuning",
      [] {
        if (auto* tuner = ionian::blas::Tuner::instance()) tuner->drain();
      },
      py::call_guard<py::gil_scoped_release>(),
      "Waits until every product that is to be measured has been.");
}
