// bindings.hpp: one function per room, and what several of them need.
#pragma once

#include <pybind11/pybind11.h>

#include "exec/channel.hpp"
#include "ionian/error.hpp"

void bind_error(pybind11::module_& m);
void bind_gpu(pybind11::module_& m);
void bind_lease(pybind11::module_& m);
void bind_allocator(pybind11::module_& m);
void bind_exec(pybind11::module_& m);
void bind_worker(pybind11::module_& m);
void bind_gang(pybind11::module_& m);
void bind_blas(pybind11::module_& m);
void bind_comm(pybind11::module_& m);

/// Sets the Python error that a C++ one becomes; pybind11 does it by itself where it makes the
/// call.
void set_python_error(const ionian::Error& error);

/// Borrows the memory of Python objects for a payload; gives it back in the destructor. Needs the
/// GIL.
class BorrowedPayload {
 public:
  /// `head` is bytes; `buffers` a sequence of contiguous buffers or None.
  BorrowedPayload(const pybind11::bytes& head, const pybind11::object& buffers);
  ~BorrowedPayload();
  BorrowedPayload(const BorrowedPayload&) = delete;
  BorrowedPayload& operator=(const BorrowedPayload&) = delete;

  [[nodiscard]] ionian::Payload payload() const { return {head_, spans_}; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  std::span<const std::byte> head_;
  std::vector<Py_buffer> views_;
  std::vector<std::span<const std::byte>> spans_;
  std::size_t size_ = 0;
};

/// Returns {head, buffers} of a message: bytes where it is small, views of shared memory otherwise,
/// which keep the memory until the last of them dies.
std::pair<pybind11::object, pybind11::object> as_python(const ionian::Received& message);
