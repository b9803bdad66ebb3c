// array.hpp: arrays of Python, whatever library they are from, as views.
#pragma once

#include <pybind11/pybind11.h>

#include <optional>

#include "ionian/array.hpp"

struct CUstream_st;
namespace dlpack {
struct ExchangeApi;
}

/// An array and what keeps it alive. Needs the GIL for its whole life.
struct BoundArray {
  ionian::Array array;
  pybind11::object owner;
  /// The stream that its library works on now, where the array itself names it.
  std::optional<CUstream_st*> stream;
  /// Else whom to ask for it, if not null.
  const dlpack::ExchangeApi* exchange = nullptr;
};

/// Returns a view of `object`; `name` names it in errors. Takes, in this order:
///  - types with `__dlpack_c_exchange_api__` (torch): no Python call at all, no synchronisation;
///  - `__cuda_array_interface__` (cupy, numba), on the stream that it names;
///  - `__array_interface__` (numpy), also of types that numpy knows from ml_dtypes;
///  - `__dlpack__` (jax and others), ready on the legacy default stream.
/// Throws InvalidError for anything else, for element types that ionian lacks, and with `writable`
/// for arrays that must not be written to.
BoundArray as_array(pybind11::handle object, const char* name, bool writable);

/// Returns a new array of the library and on the device of `like`; its contents are undefined.
pybind11::object new_like(const BoundArray& like, std::span<const std::int64_t> shape,
                          ionian::DType dtype);

/// Returns the stream to work on: `given` (an int, a stream object of torch or cupy) if it is not
/// None, else the first that an array names, else the default one.
CUstream_st* stream_for(const pybind11::object& given,
                        std::initializer_list<const BoundArray*> arrays);
