// bind_lease.cpp: GPUs held, and who holds the rest.
#include <poll.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "bindings.hpp"
#include "ionian/lease.hpp"

namespace py = pybind11;

namespace {

using ionian::Lease;
using ionian::LeaseBook;
using ionian::LeaseOwner;
using ionian::LeaseStatus;
using ionian::LeaseTicket;
using ionian::Quarantine;
using std::chrono::milliseconds;

/// How long Ctrl-C may go unnoticed.
constexpr milliseconds kSlice{50};

py::str text(const std::string& bytes) {
  return py::bytes(bytes).attr("decode")("utf-8", "backslashreplace");
}

const char* state_name(LeaseStatus::State state) {
  switch (state) {
    case LeaseStatus::State::kFree:
      return "free";
    case LeaseStatus::State::kLeased:
      return "leased";
    case LeaseStatus::State::kExternal:
      return "external";
    case LeaseStatus::State::kDraining:
      return "draining";
    case LeaseStatus::State::kQuarantined:
      return "quarantined";
  }
  return "free";
}

Lease acquire(LeaseBook& book, const ionian::GpuRequest& request, const std::string& app,
              const std::string& function, const std::optional<double>& timeout) {
  const auto begin = std::chrono::steady_clock::now();
  const std::chrono::duration<double> limit(
      timeout.value_or(std::numeric_limits<double>::infinity()));
  auto waiter = book.request(request, ionian::this_process_as_owner(app, function, ""));
  for (;;) {
    std::optional<Lease> lease;
    {
      const py::gil_scoped_release release;
      lease = waiter.try_grant();
    }
    if (lease) return std::move(*lease);
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (std::chrono::steady_clock::now() - begin >= limit) {
      throw ionian::LeaseTimeoutError("[gpu=" + request.to_string() + "] not granted within " +
                                      std::string(py::str(py::float_(limit.count()))) + " s\n" +
                                      waiter.explain().to_string());
    }
    const py::gil_scoped_release release;
    pollfd polled{book.changes(), POLLIN, 0};
    ::poll(&polled, 1, static_cast<int>(std::min(waiter.retry_after(), kSlice).count()));
    book.drain_changes();
  }
}

void bind_explanation(py::module_& m) {
  using ionian::LeaseExplanation;
  using ionian::LeaseObstacles;
  py::class_<LeaseObstacles::Kept>(m, "LeaseKept", "Free, but kept for an earlier request.")
      .def_readonly("uuid", &LeaseObstacles::Kept::uuid)
      .def_readonly("request", &LeaseObstacles::Kept::request);
  py::class_<LeaseObstacles>(m, "LeaseObstacles", "What is in the way of one alternative.")
      .def_readonly("item", &LeaseObstacles::item)
      .def_readonly("count", &LeaseObstacles::count)
      .def_readonly("possible", &LeaseObstacles::possible)
      .def_readonly("free", &LeaseObstacles::free)
      .def_readonly("busy", &LeaseObstacles::busy)
      .def_readonly("kept", &LeaseObstacles::kept);
  py::class_<LeaseExplanation>(m, "LeaseExplanation", "Why a request is not granted now.")
      .def_readonly("request", &LeaseExplanation::request)
      .def_readonly("queued", &LeaseExplanation::queued)
      .def_readonly("never", &LeaseExplanation::never)
      .def_readonly("possible_now", &LeaseExplanation::possible_now)
      .def_readonly("grant", &LeaseExplanation::grant)
      .def_readonly("position", &LeaseExplanation::position)
      .def_readonly("alternatives", &LeaseExplanation::alternatives)
      .def_readonly("gpus", &LeaseExplanation::gpus)
      .def_readonly("queue", &LeaseExplanation::queue)
      .def("__str__", [](const LeaseExplanation& self) { return text(self.to_string()); })
      .def("__repr__", [](const LeaseExplanation& self) { return text(self.to_string()); });
}

}  // namespace

void bind_lease(py::module_& m) {
  py::class_<LeaseOwner>(m, "LeaseOwner", "Who holds or waits; for people.")
      .def_readonly("pid", &LeaseOwner::pid)
      .def_readonly("uid", &LeaseOwner::uid)
      .def_property_readonly("user", [](const LeaseOwner& self) { return text(self.user); })
      .def_property_readonly("app", [](const LeaseOwner& self) { return text(self.app); })
      .def_property_readonly("function", [](const LeaseOwner& self) { return text(self.function); })
      .def_property_readonly("run", [](const LeaseOwner& self) { return text(self.run); })
      .def_readonly("since_ns", &LeaseOwner::since_ns, "Wall-clock nanoseconds.")
      .def_property_readonly("callers", [](const LeaseOwner& self) {
        py::list callers;
        for (const auto& caller : self.callers) callers.append(text(caller));
        return callers;
      });
  py::class_<Quarantine>(m, "Quarantine", "Why a GPU is not granted although nobody holds it.")
      .def_readonly("uuid", &Quarantine::uuid)
      .def_property_readonly("reason", [](const Quarantine& self) { return text(self.reason); })
      .def_property_readonly("action", [](const Quarantine& self) { return text(self.action); })
      .def_readonly("xid", &Quarantine::xid)
      .def_readonly("finder", &Quarantine::finder)
      .def_property_readonly("found_now",
                             [](const Quarantine& self) { return text(self.found_now); })
      .def_property_readonly(
          "probe_in",
          [](const Quarantine& self) {
            return std::chrono::duration<double>(self.probe_in).count();
          },
          "Seconds.");
  py::class_<LeaseStatus>(m, "LeaseStatus", "What one GPU is doing.")
      .def_property_readonly("uuid", [](const LeaseStatus& self) { return text(self.uuid); })
      .def_property_readonly("type", [](const LeaseStatus& self) { return text(self.type); })
      .def_property_readonly("state",
                             [](const LeaseStatus& self) { return state_name(self.state); })
      .def_readonly("owner", &LeaseStatus::owner)
      .def_readonly("strangers", &LeaseStatus::strangers)
      .def_property_readonly("left", [](const LeaseStatus& self) { return text(self.left); })
      .def_readonly("draining_since_ns", &LeaseStatus::draining_since_ns)
      .def_readonly("quarantine", &LeaseStatus::quarantine);
  py::class_<LeaseTicket>(m, "LeaseTicket", "One waiting request.")
      .def_readonly("number", &LeaseTicket::number)
      .def_property_readonly("request", [](const LeaseTicket& self) { return text(self.request); })
      .def_readonly("owner", &LeaseTicket::owner);
  bind_explanation(m);
  py::class_<Lease>(m, "Lease", "GPUs held by this process until `release()` or its end.")
      .def_property_readonly("devices", &Lease::devices)
      .def_property_readonly("visible_devices", &Lease::visible_devices, "A CUDA_VISIBLE_DEVICES.")
      .def_property_readonly("alternative", &Lease::alternative)
      .def("release", &Lease::release)
      .def("__enter__", [](py::object self) { return self; })
      .def("__exit__", [](Lease& self, const py::args&) { self.release(); });
  py::class_<LeaseBook>(m, "LeaseBook", "The lock directory and an inventory together.")
      .def(py::init([](const ionian::Inventory& inventory, const std::string& lock_dir,
                       const std::string& match, bool check_strangers) {
             auto options = ionian::LeaseBookOptions::from_environment();
             options.lock_dir = lock_dir;
             options.match = ionian::parse_gpu_match(match);
             options.check_strangers = check_strangers;
             return LeaseBook(inventory, options);
           }),
           py::arg("inventory"), py::kw_only(), py::arg("lock_dir") = "",
           py::arg("match") = "upgrade", py::arg("check_strangers") = true)
      .def_static("default_lock_dir", &LeaseBook::default_lock_dir)
      .def("check", &LeaseBook::check, py::arg("request"),
           py::arg("held_by_ancestors") = std::vector<std::string>{},
           py::arg("asker") = LeaseOwner{},
           "Raises UnsatisfiableError or LeaseDeadlockError if the request can never be granted.")
      .def("acquire", &acquire, py::arg("request"), py::kw_only(), py::arg("app") = "",
           py::arg("function") = "", py::arg("timeout") = py::none(),
           "Waits for GPUs; seconds. Ctrl-C interrupts it.")
      .def("status", &LeaseBook::status, py::call_guard<py::gil_scoped_release>())
      .def("probe", &LeaseBook::probe, py::call_guard<py::gil_scoped_release>(),
           "Probes every quarantined GPU now.")
      .def("queue", &LeaseBook::queue, py::call_guard<py::gil_scoped_release>())
      .def("leases", &LeaseBook::leases, py::call_guard<py::gil_scoped_release>())
      .def(
          "explain",
          [](const LeaseBook& self, const ionian::GpuRequest& request,
             const std::vector<std::string>& held, const std::string& app,
             const std::string& function, const std::string& run,
             std::vector<std::string> callers) {
            const py::gil_scoped_release release;
            auto asker = ionian::this_process_as_owner(app, function, run);
            asker.callers = std::move(callers);
            return self.explain(request, held, asker);
          },
          py::arg("request"), py::kw_only(),
          py::arg("held_by_ancestors") = std::vector<std::string>{}, py::arg("app") = "",
          py::arg("function") = "", py::arg("run") = "",
          py::arg("callers") = std::vector<std::string>{},
          "What would become of the request now. It enters no queue.");
}
