// ionian.comm: communicators.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "array.hpp"
#include "bindings.hpp"
#include "comm/nccl_api.hpp"
#include "comm/rate.hpp"
#include "cuda/bandwidth.hpp"
#include "ionian/communicator.hpp"

namespace py = pybind11;

namespace {

using ionian::Array;
using ionian::CommBackend;
using ionian::Communicator;
using ionian::ReduceOp;

ReduceOp parse_op(const std::string& text) {
  for (const ReduceOp op :
       {ReduceOp::kSum, ReduceOp::kProd, ReduceOp::kMax, ReduceOp::kMin, ReduceOp::kAvg}) {
    if (text == ionian::to_string(op)) return op;
  }
  throw ionian::InvalidError("[communicator] op='" + text +
                             "'; expected 'sum', 'prod', 'max', 'min' or 'avg'");
}

CommBackend parse_backend(const std::string& text) {
  for (const CommBackend backend : {CommBackend::kNccl, CommBackend::kSharedMemory}) {
    if (text == ionian::to_string(backend)) return backend;
  }
  throw ionian::InvalidError("[communicator] backend='" + text +
                             "'; expected 'nccl' or 'shared_memory'");
}

ionian::CommunicatorOptions options(double timeout) {
  ionian::CommunicatorOptions made;
  if (!(timeout > 0 && timeout < 1e9)) {
    throw ionian::InvalidError("[communicator] timeout=" + std::to_string(timeout) +
                               "; expected seconds, more than 0");
  }
  made.timeout = std::chrono::milliseconds(static_cast<std::int64_t>(timeout * 1000));
  made.interrupted = [] {
    const py::gil_scoped_acquire acquire;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    return false;
  };
  return made;
}

/// Calls `body` without the GIL, which every wait inside can take for a moment.
template <class Body>
void released(Body body) {
  const py::gil_scoped_release release;
  body();
}

/// Returns the shape with its first dimension multiplied, or divided where `factor` is negative.
std::vector<std::int64_t> scaled(const Array& array, int factor) {
  std::vector<std::int64_t> shape(array.shape().begin(), array.shape().end());
  if (shape.empty()) shape.push_back(1);
  if (factor > 0) {
    shape[0] *= factor;
  } else if (shape[0] % -factor == 0) {
    shape[0] /= -factor;
  } else {
    throw ionian::InvalidError("[communicator] in is " + array.to_string() +
                               "; expected a first dimension that is a multiple of " +
                               std::to_string(-factor));
  }
  return shape;
}

py::object all_reduce(Communicator& self, const py::object& x, const std::string& op,
                      const py::object& out, const py::object& stream) {
  const BoundArray in = as_array(x, "x", out.is_none());
  const BoundArray to = out.is_none() ? in : as_array(out, "out", true);
  auto* on = stream_for(stream, {&in, &to});
  const ReduceOp parsed = parse_op(op);
  released([&] { self.all_reduce(in.array, to.array, parsed, on); });
  return out.is_none() ? x : out;
}

py::object reduce(Communicator& self, const py::object& x, int root, const std::string& op,
                  const py::object& out, const py::object& stream) {
  const BoundArray in = as_array(x, "x", out.is_none() && self.rank() == root);
  const BoundArray to = out.is_none() ? in : as_array(out, "out", true);
  auto* on = stream_for(stream, {&in, &to});
  const ReduceOp parsed = parse_op(op);
  released([&] { self.reduce(in.array, to.array, parsed, root, on); });
  return out.is_none() ? x : out;
}

py::object broadcast(Communicator& self, const py::object& x, int root, const py::object& stream) {
  const BoundArray array = as_array(x, "x", self.rank() != root);
  auto* on = stream_for(stream, {&array});
  released([&] { self.broadcast(array.array, root, on); });
  return x;
}

py::object all_gather(Communicator& self, const py::object& x, const py::object& out,
                      const py::object& stream) {
  const BoundArray in = as_array(x, "x", false);
  py::object result =
      out.is_none() ? new_like(in, scaled(in.array, self.world_size()), in.array.dtype) : out;
  const BoundArray to = as_array(result, "out", true);
  auto* on = stream_for(stream, {&in, &to});
  released([&] { self.all_gather(in.array, to.array, on); });
  return result;
}

py::object reduce_scatter(Communicator& self, const py::object& x, const std::string& op,
                          const py::object& out, const py::object& stream) {
  const BoundArray in = as_array(x, "x", false);
  py::object result =
      out.is_none() ? new_like(in, scaled(in.array, -self.world_size()), in.array.dtype) : out;
  const BoundArray to = as_array(result, "out", true);
  auto* on = stream_for(stream, {&in, &to});
  const ReduceOp parsed = parse_op(op);
  released([&] { self.reduce_scatter(in.array, to.array, parsed, on); });
  return result;
}

py::object all_to_all(Communicator& self, const py::object& x, const py::object& out,
                      const py::object& stream) {
  const BoundArray in = as_array(x, "x", false);
  py::object result = out.is_none() ? new_like(in, in.array.shape(), in.array.dtype) : out;
  const BoundArray to = as_array(result, "out", true);
  auto* on = stream_for(stream, {&in, &to});
  released([&] { self.all_to_all(in.array, to.array, on); });
  return result;
}

void send(Communicator& self, const py::object& x, int to, const py::object& stream) {
  const BoundArray array = as_array(x, "x", false);
  auto* on = stream_for(stream, {&array});
  released([&] { self.send(array.array, to, on); });
}

py::object recv(Communicator& self, const py::object& x, int source, const py::object& stream) {
  const BoundArray array = as_array(x, "x", true);
  auto* on = stream_for(stream, {&array});
  released([&] { self.recv(array.array, source, on); });
  return x;
}

}  // namespace

void bind_comm(py::module_& m) {
  const py::object none = py::none();
  py::class_<Communicator>(m, "Communicator")
      .def(py::init([](const py::bytes& id, int rank, int world_size, std::optional<int> device,
                       double timeout) {
             const std::string bytes = id;
             auto made = options(timeout);
             const py::gil_scoped_release release;
             return std::make_unique<Communicator>(bytes, rank, world_size,
                                                   device.value_or(Array::kHost), std::move(made));
           }),
           py::arg("unique_id"), py::arg("rank"), py::arg("world_size"), py::arg("device") = none,
           py::arg("timeout") = 60.0)
      .def_property_readonly("rank", &Communicator::rank)
      .def_property_readonly("world_size", &Communicator::world_size)
      .def_property_readonly("device",
                             [](const Communicator& self) -> py::object {
                               if (self.device() == Array::kHost) return py::none();
                               return py::int_(self.device());
                             })
      .def_property_readonly(
          "backend", [](const Communicator& self) { return ionian::to_string(self.backend()); })
      .def("all_reduce", &all_reduce, py::arg("x"), py::arg("op") = "sum", py::kw_only(),
           py::arg("out") = none, py::arg("stream") = none)
      .def("reduce", &reduce, py::arg("x"), py::arg("root") = 0, py::arg("op") = "sum",
           py::kw_only(), py::arg("out") = none, py::arg("stream") = none)
      .def("broadcast", &broadcast, py::arg("x"), py::arg("root") = 0, py::kw_only(),
           py::arg("stream") = none)
      .def("all_gather", &all_gather, py::arg("x"), py::kw_only(), py::arg("out") = none,
           py::arg("stream") = none)
      .def("reduce_scatter", &reduce_scatter, py::arg("x"), py::arg("op") = "sum", py::kw_only(),
           py::arg("out") = none, py::arg("stream") = none)
      .def("all_to_all", &all_to_all, py::arg("x"), py::kw_only(), py::arg("out") = none,
           py::arg("stream") = none)
      .def("send", &send, py::arg("x"), py::arg("to"), py::kw_only(), py::arg("stream") = none)
      .def("recv", &recv, py::arg("x"), py::arg("source"), py::kw_only(), py::arg("stream") = none)
      .def(
          "barrier",
          [](Communicator& self, const py::object& stream) {
            auto* on = stream_for(stream, {});
            released([&] { self.barrier(on); });
          },
          py::kw_only(), py::arg("stream") = none)
      .def(
          "wait",
          [](Communicator& self, const py::object& stream) {
            auto* on = stream_for(stream, {});
            released([&] { self.wait(on); });
          },
          py::kw_only(), py::arg("stream") = none)
      .def("group_start", &Communicator::group_start)
      .def("group_end", &Communicator::group_end, py::call_guard<py::gil_scoped_release>())
      .def(
          "split",
          [](Communicator& self, int color, int key) -> std::optional<Communicator> {
            const py::gil_scoped_release release;
            return self.split(color, key);
          },
          py::arg("color"), py::arg("key") = 0)
      .def("abort", &Communicator::abort, py::call_guard<py::gil_scoped_release>());
  m.def(
      "unique_id",
      [](const std::string& backend) {
        const CommBackend parsed = parse_backend(backend);
        std::string id;
        released([&] { id = Communicator::unique_id(parsed); });
        return py::bytes(id);
      },
      py::arg("backend"));
  m.def("all_reduce_bandwidth", &ionian::all_reduce_bandwidth, py::arg("devices"), py::arg("bytes"),
        py::call_guard<py::gil_scoped_release>(), "GB/s, as nccl-tests defines the bus bandwidth.");
  m.def(
      "copy_bandwidth",
      [](std::optional<int> source, std::optional<int> target, std::size_t bytes) {
        return ionian::cuda::copy_bandwidth(source.value_or(Array::kHost),
                                            target.value_or(Array::kHost), bytes);
      },
      py::arg("source"), py::arg("target"), py::arg("bytes"),
      py::call_guard<py::gil_scoped_release>(), "GB/s of copies; None is pinned host memory.");
  m.def("can_access_peer", &ionian::cuda::can_access_peer, py::arg("device"), py::arg("peer"));
  m.def("nccl_reason", &ionian::nccl::reason, "Why there is no NCCL, \"\" if there is one.");
  m.def("nccl_version",
        [] { return ionian::nccl::find() == nullptr ? 0 : ionian::nccl::find()->version; });
  m.def("nccl_path",
        [] { return ionian::nccl::find() == nullptr ? "" : ionian::nccl::find()->path; });
}
