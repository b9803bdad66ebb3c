// bind_gpu.cpp: requests, the catalog and the inventory.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bindings.hpp"
#include "ionian/catalog.hpp"
#include "ionian/error.hpp"
#include "ionian/gpu_request.hpp"
#include "ionian/inventory.hpp"

namespace py = pybind11;

namespace ionian {
namespace {

/// Returns `text` as a str whatever its bytes are: names of processes need not be UTF-8.
py::str to_str(std::string_view text) {
  PyObject* decoded =
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "backslashreplace");
  if (decoded == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(decoded);
}

/// Returns a getter for a member that holds text.
template <class Class, class Text>
auto text_of(Text Class::*member) {
  return [member](const Class& self) { return to_str(self.*member); };
}

const char* kind_name(GpuRequestItem::Kind kind) {
  switch (kind) {
    case GpuRequestItem::Kind::kModel:
      return "model";
    case GpuRequestItem::Kind::kMemory:
      return "memory";
    case GpuRequestItem::Kind::kAny:
      return "any";
    case GpuRequestItem::Kind::kUuid:
      return "uuid";
  }
  return "any";
}

const char* binding_name(GpuRequestItem::Binding binding) {
  switch (binding) {
    case GpuRequestItem::Binding::kDefault:
      return "";
    case GpuRequestItem::Binding::kExactly:
      return "!";
    case GpuRequestItem::Binding::kOrNewer:
      return "+";
  }
  return "";
}

const char* source_name(Inventory::Source source) {
  switch (source) {
    case Inventory::Source::kNone:
      return "none";
    case Inventory::Source::kNvml:
      return "nvml";
    case Inventory::Source::kSimulated:
      return "simulated";
  }
  return "none";
}

std::vector<std::string> texts(const GpuRequest& request) {
  std::vector<std::string> all;
  for (const auto& item : request.alternatives()) all.push_back(item.to_string());
  return all;
}

py::dict rates(const GpuModel& model) {
  py::dict all;
  all["fp64"] = model.fp64;
  all["fp32"] = model.fp32;
  all["tf32"] = model.tf32;
  all["fp16"] = model.fp16;
  all["bf16"] = model.bf16;
  all["fp8"] = model.fp8;
  all["int8"] = model.int8;
  return all;
}

py::list names(std::span<const std::string_view> all) {
  py::list list;
  for (const auto name : all) list.append(to_str(name));
  return list;
}

std::chrono::milliseconds milliseconds(double seconds) {
  constexpr double day = 86400;
  if (!(seconds > 0)) throw InvalidError("[timeout] expected seconds above 0");
  return std::chrono::milliseconds(
      static_cast<std::int64_t>(std::ceil(std::min(seconds, day) * 1000)));
}

Inventory read(const std::optional<std::string>& simulate,
               const std::optional<std::string>& visible_devices, double timeout, bool processes) {
  InventoryOptions options = InventoryOptions::from_environment();
  if (simulate) options.simulate = simulate;
  if (visible_devices) options.visible_devices = visible_devices;
  options.timeout = milliseconds(timeout);
  options.processes = processes;
  return read_inventory(options);
}

void bind_request(py::module_& m) {
  py::class_<GpuRequestItem>(m, "GpuRequestItem", py::is_final(), "One alternative of a request.")
      .def_property_readonly("kind",
                             [](const GpuRequestItem& self) { return kind_name(self.kind); })
      .def_readonly("type", &GpuRequestItem::type)
      .def_property_readonly("binding",
                             [](const GpuRequestItem& self) { return binding_name(self.binding); })
      .def_readonly("count", &GpuRequestItem::count)
      .def("__str__", &GpuRequestItem::to_string)
      .def("__repr__",
           [](const GpuRequestItem& self) { return "GpuRequestItem('" + self.to_string() + "')"; });
  py::class_<GpuRequest>(m, "GpuRequest", py::is_final(),
                         "A parsed gpu=: alternatives in order of preference.")
      .def_static("parse", py::overload_cast<std::string_view>(&GpuRequest::parse), py::arg("text"),
                  "Parses one item. Raises GpuRequestError.")
      .def_static("parse", py::overload_cast<const std::vector<std::string>&>(&GpuRequest::parse),
                  py::arg("text"), "Parses a list. Raises GpuRequestError.")
      .def_property_readonly("alternatives", &GpuRequest::alternatives)
      .def("texts", &texts, "Returns the canonical spelling of every alternative.")
      .def("__str__", &GpuRequest::to_string)
      .def("__repr__",
           [](const GpuRequest& self) { return "GpuRequest('" + self.to_string() + "')"; })
      .def(
          "__eq__", [](const GpuRequest& a, const GpuRequest& b) { return a == b; },
          py::is_operator())
      .def("__hash__", [](const GpuRequest& self) { return py::hash(py::str(self.to_string())); });
}

void bind_device(py::module_& m) {
  py::class_<DeviceProcess>(m, "DeviceProcess", py::is_final(), "A process that uses a GPU.")
      .def_readonly("pid", &DeviceProcess::pid)
      .def_readonly("memory_bytes", &DeviceProcess::memory_bytes)
      .def_property_readonly("user", text_of(&DeviceProcess::user))
      .def_property_readonly("command", text_of(&DeviceProcess::command));
  py::class_<Device>(m, "Device", py::is_final(), "One GPU of this machine.")
      .def_readonly("index", &Device::index)
      .def_property_readonly("uuid", text_of(&Device::uuid))
      .def_property_readonly("name", text_of(&Device::name))
      .def_property_readonly("type", text_of(&Device::type))
      .def_readonly("memory_bytes", &Device::memory_bytes)
      .def_readonly("memory_used_bytes", &Device::memory_used_bytes)
      .def_property_readonly(
          "compute_capability",
          [](const Device& self) { return std::pair(self.compute_major, self.compute_minor); })
      .def_property_readonly("pci_bus_id", text_of(&Device::pci_bus_id))
      .def_readonly("numa_node", &Device::numa_node)
      .def_readonly("cpus", &Device::cpus)
      .def_readonly("mig_enabled", &Device::mig_enabled)
      .def_readonly("simulated", &Device::simulated)
      .def_property_readonly("trouble", text_of(&Device::trouble))
      .def_readonly("processes", &Device::processes)
      .def("__repr__", [](const Device& self) {
        return to_str("Device(" + self.type + " " + self.uuid + ")");
      });
}

void bind_inventory(py::module_& m) {
  py::class_<Topology>(m, "Topology", py::is_final(), "How the GPUs of a machine are linked.")
      .def_property_readonly("size", &Topology::size)
      .def(
          "link",
          [](const Topology& self, std::size_t a, std::size_t b) {
            return std::string(to_string(self.link(a, b)));
          },
          py::arg("a"), py::arg("b"),
          "Returns \"SYS\", \"NODE\", \"PHB\", \"PXB\", \"PIX\", \"NV\" or \"X\".")
      .def("nvlinks", &Topology::nvlinks, py::arg("a"), py::arg("b"),
           "Returns the number of NVLink links between the two.");
  py::class_<Inventory>(m, "Inventory", py::is_final(), "The GPUs of this machine, a snapshot.")
      .def_property_readonly("source",
                             [](const Inventory& self) { return source_name(self.source); })
      .def_readonly("devices", &Inventory::devices)
      .def_readonly("topology", &Inventory::topology)
      .def_property_readonly("driver_version", text_of(&Inventory::driver_version))
      .def_property_readonly("library_path", text_of(&Inventory::library_path))
      .def_property_readonly("reason", text_of(&Inventory::reason));
  m.def("read_inventory", &read, py::kw_only(), py::arg("simulate") = py::none(),
        py::arg("visible_devices") = py::none(), py::arg("timeout") = 10.0,
        py::arg("processes") = true, py::call_guard<py::gil_scoped_release>(),
        "Returns the GPUs of this machine; None means what the environment says.");
}

void bind_catalog(py::module_& m) {
  py::class_<GpuModel>(m, "GpuModel", py::is_final(), "One row of the catalog.")
      .def_property_readonly("type", text_of(&GpuModel::type))
      .def_property_readonly("family", text_of(&GpuModel::family))
      .def_property_readonly("architecture", text_of(&GpuModel::architecture))
      .def_property_readonly(
          "compute_capability",
          [](const GpuModel& self) { return std::pair(self.compute_major, self.compute_minor); })
      .def_readonly("memory_gb", &GpuModel::memory_gb)
      .def_readonly("bandwidth_gbs", &GpuModel::bandwidth_gbs)
      .def_property_readonly("rates", &rates)
      .def_readonly("usd_per_second", &GpuModel::usd_per_second)
      .def_property_readonly("grants", [](const GpuModel& self) { return names(self.grants); })
      .def_property_readonly("aliases", [](const GpuModel& self) { return names(self.aliases); })
      .def_property_readonly("nvml_names",
                             [](const GpuModel& self) { return names(self.nvml_names); })
      .def_property_readonly("source", text_of(&GpuModel::source))
      .def("__repr__",
           [](const GpuModel& self) { return to_str("GpuModel(" + std::string(self.type) + ")"); });
  m.def(
      "catalog",
      [] {
        const auto models = catalog();
        return std::vector<GpuModel>(models.begin(), models.end());
      },
      "Returns every model, oldest architecture first.");
  m.def(
      "find_model",
      [](std::string_view name) -> std::optional<GpuModel> {
        const GpuModel* model = find_model(name);
        return model == nullptr ? std::nullopt : std::optional<GpuModel>(*model);
      },
      py::arg("name"), "Returns the model of that name or alias, None if there is none.");
}

}  // namespace
}  // namespace ionian

void bind_gpu(py::module_& m) {
  ionian::bind_request(m);
  ionian::bind_device(m);
  ionian::bind_inventory(m);
  ionian::bind_catalog(m);
}
