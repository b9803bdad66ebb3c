// Table of contents of ionian._core.
#include <pybind11/pybind11.h>

#include "bindings.hpp"

PYBIND11_MODULE(_core, m) {
  m.doc() = "The C++ core of ionian. Private: use the package ionian.";
  m.attr("__version__") = IONIAN_VERSION;
  bind_error(m);
  bind_gpu(m);
  bind_lease(m);
  bind_allocator(m);
  bind_exec(m);
  bind_worker(m);
  bind_gang(m);
  bind_blas(m);
  bind_comm(m);
}
