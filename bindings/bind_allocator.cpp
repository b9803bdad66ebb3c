// bind_allocator.cpp: the pure allocator, so that tests can compare it with a model in Python.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings.hpp"
#include "ionian/error.hpp"
#include "lease/allocator.hpp"

namespace py = pybind11;

namespace {

using namespace ionian::allocator;
using Asked = std::tuple<std::string, std::size_t, std::vector<std::size_t>>;

ionian::Machine machine(std::vector<std::string> types, std::vector<int> preferences) {
  if (types.size() != preferences.size()) {
    throw ionian::InvalidError("[allocator] " + std::to_string(types.size()) + " types but " +
                               std::to_string(preferences.size()) + " preferences");
  }
  ionian::Machine result;
  result.topology = ionian::Topology(types.size());
  result.types = std::move(types);
  result.preferences = std::move(preferences);
  return result;
}

const char* name_of(GpuState state) {
  switch (state) {
    case GpuState::kFree:
      return "free";
    case GpuState::kLeased:
      return "leased";
    case GpuState::kDraining:
      return "draining";
    case GpuState::kQuarantined:
      return "quarantined";
    case GpuState::kBusyExternal:
      break;
  }
  return "external";
}

struct AsTuple {
  py::tuple operator()(const Grant& effect) const {
    return py::make_tuple("grant", effect.request, effect.alternative, effect.gpus);
  }
  py::tuple operator()(const Reject& effect) const {
    return py::make_tuple("reject", effect.request);
  }
  py::tuple operator()(const Drain& effect) const { return py::make_tuple("drain", effect.gpu); }
  py::tuple operator()(const Quarantine& effect) const {
    return py::make_tuple("quarantine", effect.gpu);
  }
};

/// A state and its clock.
struct Allocator {
  State state;
  TimePoint now{};

  py::list say(const Event& event) {
    py::list effects;
    for (const auto& effect : step(state, event, now))
      effects.append(std::visit(AsTuple{}, effect));
    return effects;
  }
};

}  // namespace

void bind_allocator(py::module_& m) {
  py::class_<Allocator>(m, "Allocator", "The pure allocator, for tests.")
      .def(py::init([](std::vector<std::string> types, std::vector<int> preferences) {
             return Allocator{State(machine(std::move(types), std::move(preferences)))};
           }),
           py::arg("types"), py::arg("preferences"))
      .def(
          "request",
          [](Allocator& self, std::uint64_t request, std::uint64_t client,
             const std::vector<Asked>& alternatives) {
            std::vector<ionian::Alternative> asked;
            asked.reserve(alternatives.size());
            for (const auto& [type, count, gpus] : alternatives)
              asked.push_back({type, count, gpus});
            return self.say(Request{{request, client, demand(self.state.layout(), asked)}});
          },
          py::arg("request"), py::arg("client"), py::arg("alternatives"))
      .def("cancel", [](Allocator& self, std::uint64_t id) { return self.say(Cancel{id}); })
      .def("client_died",
           [](Allocator& self, std::uint64_t id) { return self.say(ClientDied{id}); })
      .def("release", [](Allocator& self, std::uint64_t id) { return self.say(Release{id}); })
      .def("held",
           [](Allocator& self, std::uint64_t request, std::uint64_t client,
              std::vector<std::size_t> gpus) {
             return self.say(Held{request, client, std::move(gpus)});
           })
      .def("drained", [](Allocator& self, std::size_t gpu) { return self.say(Drained{gpu}); })
      .def("stranger_came",
           [](Allocator& self, std::size_t gpu) { return self.say(StrangerCame{gpu}); })
      .def("stranger_left",
           [](Allocator& self, std::size_t gpu) { return self.say(StrangerLeft{gpu}); })
      .def("gpu_lost", [](Allocator& self, std::size_t gpu) { return self.say(GpuLost{gpu}); })
      .def("gpu_recovered",
           [](Allocator& self, std::size_t gpu) { return self.say(GpuRecovered{gpu}); })
      .def("tick",
           [](Allocator& self, double seconds) {
             self.now += std::chrono::duration_cast<TimePoint::duration>(
                 std::chrono::duration<double>(seconds));
             return self.say(Tick{});
           })
      .def("states",
           [](const Allocator& self) {
             std::vector<std::string> names;
             for (std::size_t i = 0; i < self.state.size(); ++i) {
               names.emplace_back(name_of(self.state.gpu(i)));
             }
             return names;
           })
      .def("queue", [](const Allocator& self) { return self.state.queue(); })
      .def("gpus_of",
           [](const Allocator& self, std::uint64_t id) { return self.state.gpus_of(id); });
}
