// The far side of exec: Launcher, WorkerOrder, Worker.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings.hpp"
#include "cuda/context_health.hpp"
#include "cuda/driver.hpp"
#include "cuda/fork_safety.hpp"
#include "exec/launcher.hpp"
#include "exec/worker.hpp"

namespace py = pybind11;

namespace {

using ionian::Launcher;
using ionian::Received;
using ionian::RequestKind;
using ionian::Worker;
using ionian::WorkerOrder;

/// Waits for the next request without the GIL; Python's signal handlers run in between.
Received next_request(Worker& worker) {
  for (;;) {
    std::optional<Received> request;
    {
      const py::gil_scoped_release release;
      request = worker.channel().next();
    }
    if (request) return std::move(*request);
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  }
}

py::object next(Worker& self) {
  const Received request = next_request(self);
  if (static_cast<RequestKind>(request.code) != RequestKind::kCall) return py::none();
  auto [head, buffers] = as_python(request);
  return py::make_tuple(std::move(head), std::move(buffers));
}

py::object setup(Worker& self) {
  const Received request = next_request(self);
  if (static_cast<RequestKind>(request.code) != RequestKind::kSetup) {
    throw ionian::ExecutionError("[worker] the first request was not the setup");
  }
  return as_python(request).first;
}

void reply(Worker& self, std::uint32_t status, const py::bytes& head, const py::object& buffers) {
  const BorrowedPayload payload(head, buffers);
  const auto code = static_cast<ionian::ReplyStatus>(status);
  if (payload.size() < (std::size_t{64} << 10))
    return self.channel().reply(code, payload.payload());
  const py::gil_scoped_release release;
  self.channel().reply(code, payload.payload());
}

}  // namespace

void bind_worker(py::module_& m) {
  py::class_<Worker>(m, "Worker", "The far side of one channel; for the worker's main thread.")
      .def_static("from_inherited", &Worker::from_inherited,
                  "A worker that was started afresh, not forked.")
      .def("setup", &setup, "Waits for what the pool sends to each worker before its first call.")
      .def("next", &next, "Waits for a call: (head, buffers); None when the worker should end.")
      .def("started", [](Worker& self) { self.channel().started(); })
      .def("reply", &reply, py::arg("status"), py::arg("head"), py::arg("buffers").none(true))
      .def("take_cancellation", &Worker::take_cancellation,
           "Whether the call that runs now was cancelled; asks once.");
  py::class_<WorkerOrder>(m, "WorkerOrder")
      .def_readonly("worker", &WorkerOrder::worker)
      .def_readonly("env", &WorkerOrder::env)
      .def("become", &WorkerOrder::become,
           "In the forked child: takes over session, output, CPUs, channel.");
  py::class_<Launcher>(m, "Launcher")
      .def(py::init<>())
      .def("setup",
           [](Launcher& self) -> py::object {
             const auto bytes = self.setup();
             return bytes ? py::object(py::bytes(*bytes)) : py::none();
           })
      .def("ready", &Launcher::ready, py::arg("forkable"), py::arg("reason"))
      .def("failed", &Launcher::failed, py::arg("text"))
      .def("next", &Launcher::next, "Waits for an order; None when the launcher should end.")
      .def("forked", &Launcher::forked, py::arg("worker"), py::arg("pid"))
      .def("refused", &Launcher::refused, py::arg("worker"), py::arg("why"),
           "The order could not be carried out.")
      .def("forget", &Launcher::forget, "In the forked child: lets go of what is the launcher's.");
  m.def("cuda_reason", &ionian::cuda::driver_reason,
        "Why there is no CUDA driver, \"\" if there is one. Initialises nothing.");
  m.def(
      "cuda_broken", &ionian::cuda::broken_context,
      "\"\" if no CUDA context of this process is broken, else the error that all its calls get.");
  m.def("cuda_initialised", &ionian::cuda::initialised,
        "\"\" if this process may fork and use CUDA in the child, else what speaks against it.");
}
