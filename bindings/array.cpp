#include "array.hpp"

#include <pybind11/stl.h>

#include <array>
#include <string>
#include <vector>

#include "cuda/driver.hpp"
#include "dlpack.hpp"
#include "ionian/error.hpp"

namespace py = pybind11;

namespace {

using ionian::Array;
using ionian::DType;
using ionian::InvalidError;

std::string type_name(py::handle object) {
  return py::str(py::type::handle_of(object).attr("__module__")).cast<std::string>() + "." +
         py::str(py::type::handle_of(object).attr("__qualname__")).cast<std::string>();
}

[[noreturn]] void refuse(const char* name, const std::string& what) {
  throw InvalidError(std::string("[array] ") + name + " " + what);
}

/// Returns the exchange API of a type, nullptr if it has none. Asked once for each type.
const dlpack::ExchangeApi* exchange_api(PyTypeObject* type) {
  struct Known {
    PyTypeObject* type;
    const dlpack::ExchangeApi* api;
  };
  static std::vector<Known> known;  // guarded by the GIL
  for (const Known& each : known) {
    if (each.type == type) return each.api;
  }
  const dlpack::ExchangeApi* api = nullptr;
  const auto capsule = py::reinterpret_steal<py::object>(
      PyObject_GetAttrString(reinterpret_cast<PyObject*>(type), "__dlpack_c_exchange_api__"));
  PyErr_Clear();
  if (capsule && PyCapsule_CheckExact(capsule.ptr()) != 0) {
    api = static_cast<const dlpack::ExchangeApi*>(
        PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
    PyErr_Clear();
    if (api != nullptr && (api->version.major != 1 || api->tensor_from_object == nullptr))
      api = nullptr;
  }
  Py_INCREF(type);  // so that no other type gets its address
  known.push_back({type, api});
  return api;
}

std::optional<DType> dtype_of(const dlpack::DataType& type) {
  if (type.lanes != 1) return std::nullopt;
  switch (type.code) {
    case dlpack::kFloat:
      if (type.bits == 64) return DType::kFloat64;
      if (type.bits == 32) return DType::kFloat32;
      if (type.bits == 16) return DType::kFloat16;
      return std::nullopt;
    case dlpack::kBFloat:
      return type.bits == 16 ? std::optional(DType::kBFloat16) : std::nullopt;
    case dlpack::kFloat8E4M3Fn:
      return DType::kFloat8E4M3;
    case dlpack::kFloat8E5M2:
      return DType::kFloat8E5M2;
    case dlpack::kInt:
      if (type.bits == 8) return DType::kInt8;
      if (type.bits == 32) return DType::kInt32;
      if (type.bits == 64) return DType::kInt64;
      return std::nullopt;
    case dlpack::kUInt:
      if (type.bits == 8) return DType::kUInt8;
      if (type.bits == 32) return DType::kUInt32;
      if (type.bits == 64) return DType::kUInt64;
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

dlpack::DataType dlpack_type(DType dtype) {
  const auto bits = static_cast<std::uint8_t>(8 * ionian::size_of(dtype));
  switch (dtype) {
    case DType::kBFloat16:
      return {dlpack::kBFloat, bits, 1};
    case DType::kFloat8E4M3:
      return {dlpack::kFloat8E4M3Fn, bits, 1};
    case DType::kFloat8E5M2:
      return {dlpack::kFloat8E5M2, bits, 1};
    case DType::kInt8:
    case DType::kInt32:
    case DType::kInt64:
      return {dlpack::kInt, bits, 1};
    case DType::kUInt8:
    case DType::kUInt32:
    case DType::kUInt64:
      return {dlpack::kUInt, bits, 1};
    default:
      return {dlpack::kFloat, bits, 1};
  }
}

constexpr const char* kTypes =
    "; expected float64, float32, float16, bfloat16, float8_e4m3fn, float8_e5m2, int8, uint8, "
    "int32, uint32, int64 or uint64";

Array from_dlpack(const dlpack::Tensor& tensor, const char* name) {
  const auto dtype = dtype_of(tensor.dtype);
  if (!dtype) {
    refuse(name, "has elements of DLPack type " + std::to_string(tensor.dtype.code) + " with " +
                     std::to_string(tensor.dtype.bits) + " bits" + kTypes);
  }
  const bool host = tensor.device.type == dlpack::kCpu || tensor.device.type == dlpack::kCudaHost;
  if (!host && tensor.device.type != dlpack::kCuda && tensor.device.type != dlpack::kCudaManaged)
    refuse(name, "lies on a device of DLPack type " + std::to_string(tensor.device.type) +
                     "; expected the host or a CUDA device");
  Array array(static_cast<std::byte*>(tensor.data) + tensor.byte_offset, *dtype,
              std::span(tensor.shape, static_cast<std::size_t>(tensor.ndim)),
              host ? Array::kHost : tensor.device.id);
  if (tensor.strides != nullptr)
    std::copy(tensor.strides, tensor.strides + tensor.ndim, array.steps.begin());
  return array;
}

/// Reads the fields that `__array_interface__` and `__cuda_array_interface__` share.
Array from_interface(py::handle object, const py::dict& interface, const char* name,
                     bool writable) {
  // The library's own name: "<V2" would say nothing of bfloat16.
  const std::string type =
      py::hasattr(object, "dtype")
          ? py::str(py::getattr(object.attr("dtype"), "name", py::str(""))).cast<std::string>()
          : interface["typestr"].cast<std::string>();
  const auto dtype = ionian::parse_dtype(type);
  if (!dtype) refuse(name, "has elements of type " + type + kTypes);
  const auto data = interface["data"].cast<py::tuple>();
  if (writable && data[1].cast<bool>()) refuse(name, "must not be written to (it is read-only)");
  const auto shape = interface["shape"].cast<std::vector<std::int64_t>>();
  Array array(reinterpret_cast<void*>(data[0].cast<std::uintptr_t>()), *dtype, shape);
  if (interface.contains("strides") && !interface["strides"].is_none()) {
    const auto strides = interface["strides"].cast<std::vector<std::int64_t>>();
    const auto each = static_cast<std::int64_t>(ionian::size_of(*dtype));
    for (std::size_t i = 0; i < strides.size(); ++i) {
      if (strides[i] % each != 0) refuse(name, "has strides that are no multiple of its elements");
      array.steps[i] = strides[i] / each;
    }
  }
  return array;
}

int device_of(const void* pointer) {
  int device = 0;
  if (pointer == nullptr) return device;  // an empty array
  ionian::cuda::check(
      ionian::cuda::driver().cuPointerGetAttribute(&device, ionian::cuda::kPointerDevice,
                                                   reinterpret_cast<std::uint64_t>(pointer)),
      "find the GPU of an array");
  return device;
}

std::optional<BoundArray> by_exchange(py::handle object, const char* name) {
  const auto* api = exchange_api(Py_TYPE(object.ptr()));
  if (api == nullptr) return std::nullopt;
  dlpack::Tensor tensor{};
  if (api->tensor_from_object(object.ptr(), &tensor) != 0) throw py::error_already_set();
  return BoundArray{from_dlpack(tensor, name), py::reinterpret_borrow<py::object>(object),
                    std::nullopt, api};
}

BoundArray by_capsule(py::handle object, const char* name, bool writable) {
  if (writable && type_name(object).starts_with("jax"))
    refuse(name, "is a jax array, which must not be written to; pass an array of torch or cupy");
  const auto device = object.attr("__dlpack_device__")().cast<std::pair<int, int>>();
  const bool on_gpu = device.first == dlpack::kCuda;
  py::object capsule =
      on_gpu ? object.attr("__dlpack__")(py::arg("stream") = 1) : object.attr("__dlpack__")();
  // The capsule keeps its name: its own destructor then frees the tensor.
  auto* managed =
      static_cast<dlpack::ManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
  if (managed == nullptr) throw py::error_already_set();
  BoundArray bound{from_dlpack(managed->tensor, name), std::move(capsule), std::nullopt, nullptr};
  return bound;
}

}  // namespace

BoundArray as_array(py::handle object, const char* name, bool writable) {
  if (auto bound = by_exchange(object, name)) return std::move(*bound);
  auto owner = py::reinterpret_borrow<py::object>(object);
  if (py::hasattr(object, "__cuda_array_interface__")) {
    const py::dict interface = object.attr("__cuda_array_interface__");
    BoundArray bound{from_interface(object, interface, name, writable), owner, std::nullopt,
                     nullptr};
    bound.array.device = device_of(bound.array.data);
    if (interface.contains("stream") && !interface["stream"].is_none()) {
      // 1 and 2 are handles of the driver too: the legacy and the per-thread default stream.
      bound.stream = reinterpret_cast<CUstream_st*>(interface["stream"].cast<std::uintptr_t>());
    }
    return bound;
  }
  if (py::hasattr(object, "__array_interface__")) {
    const py::dict interface = object.attr("__array_interface__");
    return {from_interface(object, interface, name, writable), owner, std::nullopt, nullptr};
  }
  if (py::hasattr(object, "__dlpack__")) return by_capsule(object, name, writable);
  refuse(name, "is of type " + type_name(object) +
                   "; expected an array: of numpy, torch, cupy, jax, or anything with __dlpack__, "
                   "__cuda_array_interface__ or __array_interface__");
}

py::object new_like(const BoundArray& like, std::span<const std::int64_t> shape, DType dtype) {
  const auto* api = exchange_api(Py_TYPE(like.owner.ptr()));
  if (api != nullptr && api->allocate != nullptr && api->managed_to_object != nullptr) {
    std::vector<std::int64_t> dims(shape.begin(), shape.end());
    dlpack::Tensor prototype{};
    prototype.device = {like.array.on_host() ? dlpack::kCpu : dlpack::kCuda,
                        std::max(like.array.device, 0)};
    prototype.ndim = static_cast<std::int32_t>(dims.size());
    prototype.dtype = dlpack_type(dtype);
    prototype.shape = dims.data();
    dlpack::ManagedTensorVersioned* made = nullptr;
    std::string error;
    const auto set_error = [](void* context, const char*, const char* message) {
      *static_cast<std::string*>(context) = message;
    };
    if (api->allocate(&prototype, &made, &error, set_error) != 0)
      throw ionian::ResourceExhaustedError("[array] no memory for a result: " + error);
    void* object = nullptr;
    if (api->managed_to_object(made, &object) != 0) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(static_cast<PyObject*>(object));
  }
  py::tuple dims(shape.size());
  for (std::size_t i = 0; i < shape.size(); ++i) dims[i] = shape[i];
  const std::string library = type_name(like.owner);
  if (!like.array.on_host() && !library.starts_with("cupy")) {
    throw InvalidError("[array] a result of the kind of " + library +
                       " cannot be made; pass out=, an array of torch or cupy");
  }
  const auto module = py::module_::import(like.array.on_host() ? "numpy" : "cupy");
  py::object type = py::str(ionian::to_string(dtype));
  const bool small =
      dtype == DType::kBFloat16 || dtype == DType::kFloat8E4M3 || dtype == DType::kFloat8E5M2;
  if (small) type = py::module_::import("ml_dtypes").attr(type);
  if (like.array.on_host()) return module.attr("empty")(dims, py::arg("dtype") = type);
  const py::object device = module.attr("cuda").attr("Device")(like.array.device);
  device.attr("__enter__")();  // cupy allocates on its current device, wherever `like` lies
  try {
    py::object made = module.attr("empty")(dims, py::arg("dtype") = type);
    device.attr("__exit__")(py::none(), py::none(), py::none());
    return made;
  } catch (...) {
    device.attr("__exit__")(py::none(), py::none(), py::none());
    throw;
  }
}

CUstream_st* stream_for(const py::object& given, std::initializer_list<const BoundArray*> arrays) {
  if (!given.is_none()) {
    py::object handle = given;
    for (const char* attribute : {"cuda_stream", "ptr"}) {
      if (py::hasattr(given, attribute)) handle = given.attr(attribute);
    }
    return reinterpret_cast<CUstream_st*>(handle.cast<std::uintptr_t>());
  }
  for (const BoundArray* array : arrays) {
    if (array->array.on_host()) continue;
    if (array->stream) return *array->stream;
    if (array->exchange == nullptr) continue;
    void* stream = nullptr;
    if (array->exchange->current_stream(dlpack::kCuda, array->array.device, &stream) != 0)
      throw py::error_already_set();
    return static_cast<CUstream_st*>(stream);
  }
  return nullptr;
}
