// The ranks of a worker: Gang, GangEvent.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <csignal>

#include "bindings.hpp"
#include "exec/gang.hpp"

namespace py = pybind11;

namespace {

using ionian::Gang;
using ionian::GangEvent;
using ionian::RequestKind;

const char* name_of(GangEvent::Kind kind) {
  switch (kind) {
    case GangEvent::Kind::kReply:
      return "reply";
    case GangEvent::Kind::kEnded:
      return "ended";
    case GangEvent::Kind::kDeadline:
      return "deadline";
    case GangEvent::Kind::kInterrupted:
      break;
  }
  return "interrupted";
}

void send(Gang& self, std::uint64_t call, RequestKind kind, const py::bytes& head,
          const py::object& buffers) {
  const BorrowedPayload payload(head, buffers);
  self.send(call, kind, payload.payload());
}

GangEvent wait(Gang& self, const std::optional<double>& timeout) {
  const auto deadline =
      timeout ? ionian::sys::Clock::now() + std::chrono::duration_cast<std::chrono::nanoseconds>(
                                                std::chrono::duration<double>(*timeout))
              : ionian::sys::TimePoint::max();
  for (;;) {
    GangEvent event;
    {
      const py::gil_scoped_release release;
      event = self.wait(deadline);
    }
    if (event.kind != GangEvent::Kind::kInterrupted) return event;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  }
}

ionian::process::Program program(const std::vector<std::string>& argv,
                                 const std::vector<std::string>& env) {
  ionian::process::Program made;
  made.argv = argv;
  made.env = env;
  return made;
}

}  // namespace

void bind_gang(py::module_& m) {
  py::class_<GangEvent>(m, "GangEvent")
      .def_property_readonly("kind", [](const GangEvent& self) { return name_of(self.kind); })
      .def_readonly("rank", &GangEvent::rank)
      .def_property_readonly("call", [](const GangEvent& self) { return self.reply.call; })
      .def_property_readonly("code", [](const GangEvent& self) { return self.reply.code; })
      .def_property_readonly("message",
                             [](const GangEvent& self) {
                               auto [head, buffers] = as_python(self.reply);
                               return py::make_tuple(std::move(head), std::move(buffers));
                             })
      .def_property_readonly("exit", [](const GangEvent& self) {
        return self.code == CLD_EXITED ? self.status : -self.status;
      });
  py::class_<Gang>(m, "Gang", "The ranks of one worker; for the worker's main thread.")
      .def(py::init<ionian::Worker&, std::size_t>(), py::arg("leader"), py::arg("ranks"),
           py::keep_alive<1, 2>())
      .def_property_readonly("size", &Gang::size)
      .def("become", &Gang::become, py::arg("rank"))
      .def("forked", &Gang::forked, py::arg("rank"), py::arg("pid"))
      .def(
          "start_afresh",
          [](Gang& self, std::size_t rank, const std::vector<std::string>& argv,
             const std::vector<std::string>& env,
             const py::bytes& setup) { return self.start_afresh(rank, program(argv, env), setup); },
          py::arg("rank"), py::arg("argv"), py::arg("env"), py::arg("setup"))
      .def("watch", &Gang::watch)
      .def_property_readonly("complete", &Gang::complete)
      .def(
          "send_setup",
          [](Gang& self, const py::bytes& setup) {
            send(self, 0, RequestKind::kSetup, setup, py::none());
          },
          py::arg("setup"))
      .def(
          "send_call",
          [](Gang& self, std::uint64_t call, const py::bytes& head, const py::object& buffers) {
            send(self, call, RequestKind::kCall, head, buffers);
          },
          py::arg("call"), py::arg("head"), py::arg("buffers").none(true))
      .def("wait", &wait, py::arg("timeout") = py::none())
      .def("cancel", &Gang::cancel, py::arg("call"))
      .def("signal", &Gang::signal, py::arg("signal"))
      .def("pid", &Gang::pid, py::arg("rank"))
      .def("tail",
           [](Gang& self, std::size_t rank) {
             return py::bytes(self.tail(rank)).attr("decode")("utf-8", "replace");
           })
      .def("end", &Gang::end, py::call_guard<py::gil_scoped_release>());
}
