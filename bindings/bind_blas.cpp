// ionian.blas: matmul.
#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <string>

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

/// The arguments of matmul, borrowed; null where not given.
struct Arguments {
  // clang-format off
  enum Index : std::size_t {
    kA, kB, kOut, kBias, kActivation, kAlpha, kBeta, kC, kScaleA, kScaleB, kOutDtype, kPrecision,
    kTransposeA, kTransposeB, kStream, kCount
  };
  static constexpr std::array<const char*, kCount> kNames = {
      "a", "b", "out", "bias", "activation", "alpha", "beta", "c", "scale_a", "scale_b",
      "out_dtype", "precision", "transpose_a", "transpose_b", "stream"};
  // clang-format on
  std::array<PyObject*, kCount> values{};

  [[nodiscard]] py::object operator[](Index index) const {
    PyObject* value = values[index];
    return py::reinterpret_borrow<py::object>(value == nullptr ? Py_None : value);
  }
  [[nodiscard]] double number(Index index, double otherwise) const {
    if (values[index] == nullptr) return otherwise;
    const double value = PyFloat_AsDouble(values[index]);
    if (value == -1.0 && PyErr_Occurred() != nullptr) throw py::error_already_set();
    return value;
  }
  [[nodiscard]] bool flag(Index index) const {
    if (values[index] == nullptr) return false;
    const int value = PyObject_IsTrue(values[index]);
    if (value < 0) throw py::error_already_set();
    return value != 0;
  }
};

/// Sorts the arguments of a call. Throws TypeError as Python would.
Arguments parse_arguments(PyObject* const* given, Py_ssize_t count, PyObject* keywords) {
  // Keywords that stand in a program are interned, so their addresses tell them apart.
  static const auto names = [] {
    std::array<PyObject*, Arguments::kCount> made{};
    for (std::size_t i = 0; i < made.size(); ++i)
      made[i] = PyUnicode_InternFromString(Arguments::kNames[i]);
    return made;
  }();
  Arguments arguments;
  if (count > 2) throw py::type_error("matmul() takes a and b; name the other arguments");
  std::copy(given, given + count, arguments.values.begin());
  const Py_ssize_t named = keywords == nullptr ? 0 : PyTuple_GET_SIZE(keywords);
  for (Py_ssize_t i = 0; i < named; ++i) {
    PyObject* name = PyTuple_GET_ITEM(keywords, i);
    auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) {
      found = std::find_if(names.begin(), names.end(),
                           [&](PyObject* each) { return PyUnicode_Compare(each, name) == 0; });
    }
    const auto refuse = [name](const char* what) {
      throw py::type_error(std::string("matmul() got ") + what + " '" +
                           std::string(py::str(py::handle(name))) + "'");
    };
    if (found == names.end()) refuse("an unexpected keyword argument");
    PyObject*& value = arguments.values[static_cast<std::size_t>(found - names.begin())];
    if (value != nullptr) refuse("multiple values for argument");
    value = given[count + i];
  }
  if (arguments.values[Arguments::kA] == nullptr || arguments.values[Arguments::kB] == nullptr)
    throw py::type_error("matmul() needs a and b");
  return arguments;
}

py::object matmul(const Arguments& given) {
  const py::object given_out = given[Arguments::kOut];
  const py::object out_dtype = given[Arguments::kOutDtype];
  BoundArray a = as_array(given[Arguments::kA], "a", false);
  BoundArray b = as_array(given[Arguments::kB], "b", false);
  const bool a_is_vector = a.array.ndim == 1;
  const bool b_is_vector = b.array.ndim == 1;
  if (a_is_vector) widen(a.array, false);
  if (b_is_vector) widen(b.array, true);
  if (given.flag(Arguments::kTransposeA)) transpose(a.array, "a");
  if (given.flag(Arguments::kTransposeB)) transpose(b.array, "b");
  ionian::MatmulOptions options;
  options.alpha = given.number(Arguments::kAlpha, 1.0);
  options.beta = given.number(Arguments::kBeta, 0.0);
  options.activation = parse_activation(given[Arguments::kActivation]);
  options.tf32 = parse_precision(given[Arguments::kPrecision]);
  std::optional<BoundArray> c;
  std::optional<BoundArray> bias;
  std::optional<BoundArray> scale_a;
  std::optional<BoundArray> scale_b;
  const auto take = [&](std::optional<BoundArray>& into, Arguments::Index index) {
    const py::object object = given[index];
    if (object.is_none()) return static_cast<const Array*>(nullptr);
    into = as_array(object, Arguments::kNames[index], false);
    return static_cast<const Array*>(&into->array);
  };
  options.c = take(c, Arguments::kC);
  options.bias = take(bias, Arguments::kBias);
  options.scale_a = take(scale_a, Arguments::kScaleA);
  options.scale_b = take(scale_b, Arguments::kScaleB);
  py::object result = given_out;
  if (given_out.is_none()) {
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
  if (!given_out.is_none() && !out_dtype.is_none() && out.array.dtype != parse_dtype(out_dtype))
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
  options.stream = stream_for(given[Arguments::kStream], {&out, &a, &b});
  if (out.array.on_host()) {
    const py::gil_scoped_release release;
    ionian::matmul(a.array, b.array, out.array, options);
  } else {
    ionian::matmul(a.array, b.array, out.array, options);
  }
  return result;
}

/// What Python calls. pybind11's own dispatch would cost as much as the rest of a small product.
PyObject* call_matmul(PyObject*, PyObject* const* given, Py_ssize_t count, PyObject* keywords) {
  try {
    return matmul(parse_arguments(given, count, keywords)).release().ptr();
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const ionian::Error& error) {
    set_python_error(error);
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

PyMethodDef matmul_method = {
    "matmul", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&call_matmul)),
    METH_FASTCALL | METH_KEYWORDS,
    "matmul(a, b, *, out=None, bias=None, activation=None, alpha=1.0, beta=0.0, c=None, "
    "scale_a=None, scale_b=None, out_dtype=None, precision=None, transpose_a=False, "
    "transpose_b=False, stream=None)\n--\n\n"
    "Returns activation(alpha * scale_a * scale_b * a @ b + beta * c + bias).\n\n"
    "a: (..., m, k), b: (..., k, n), of float64, float32, float16, bfloat16, float8 or int8; "
    "batches\n"
    "are broadcast, vectors treated as numpy does. out: where to write, also what is returned.\n"
    "bias: (n,). activation: None, 'relu', 'gelu' (of tanh) or 'silu'. scale_a, scale_b: one\n"
    "float32 each. out_dtype: a type or its name. precision: 'tf32' lets float32 be rounded.\n"
    "stream: what to work on, by default what the arrays' library works on.\n\n"
    "Raises InvalidError for what does not fit, saying what would; NotFoundError without the\n"
    "library; CudaError."};

}  // namespace

void bind_blas(py::module_& m) {
  m.add_object("matmul", py::reinterpret_steal<py::object>(
                             PyCFunction_NewEx(&matmul_method, nullptr, m.attr("__name__").ptr())));
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
