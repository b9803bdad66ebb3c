// Every C++ error becomes the class of the same name in ionian.exception.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings.hpp"

namespace py = pybind11;

namespace {

py::object make_exception(const ionian::Error& error) {
  const py::module_ classes = py::module_::import("ionian.exception");
  const std::string name = error.kind();
  const py::object type = py::hasattr(classes, name.c_str()) ? classes.attr(name.c_str())
                                                             : classes.attr("ExecutionError");
  py::object exception = type(py::str(py::bytes(error.what()).attr("decode")("utf-8", "replace")));
  if (const auto* request = dynamic_cast<const ionian::GpuRequestError*>(&error)) {
    exception.attr("text") = py::bytes(request->text).attr("decode")("utf-8", "replace");
    exception.attr("position") = request->position;
    exception.attr("suggestion") = request->suggestion;
  } else if (const auto* died = dynamic_cast<const ionian::WorkerDiedError*>(&error)) {
    const ionian::WorkerDeath& death = died->death;
    exception.attr("pid") = death.pid;
    exception.attr("signal") = death.signal == 0 ? py::none() : py::object(py::int_(death.signal));
    exception.attr("exit_code") =
        death.exit_code < 0 ? py::none() : py::object(py::int_(death.exit_code));
    exception.attr("started") = death.started;
    exception.attr("cause") = death.cause;
    exception.attr("gpus") = death.gpus;
    exception.attr("log_tail") = py::bytes(death.log_tail).attr("decode")("utf-8", "replace");
  } else if (const auto* unhealthy = dynamic_cast<const ionian::GpuUnhealthyError*>(&error)) {
    exception.attr("uuid") = unhealthy->fault.uuid;
    exception.attr("xid") =
        unhealthy->fault.xid == 0 ? py::none() : py::object(py::int_(unhealthy->fault.xid));
    exception.attr("action") = unhealthy->fault.action;
  }
  return exception;
}

}  // namespace

void set_python_error(const ionian::Error& error) {
  const py::object exception = make_exception(error);
  PyErr_SetObject(py::type::of(exception).ptr(), exception.ptr());
}

void bind_error(py::module_& m) {
  static_cast<void>(m);
  py::register_local_exception_translator([](std::exception_ptr thrown) {  // NOLINT: its signature
    if (!thrown) return;
    try {
      std::rethrow_exception(thrown);
    } catch (const ionian::Error& error) {
      set_python_error(error);
    }
  });
}
