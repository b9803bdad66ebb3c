// Payloads: Python buffers in, views of shared memory out.
#include <pybind11/pybind11.h>

#include "bindings.hpp"

namespace py = pybind11;

namespace {

/// Exports a part of a received block through the buffer protocol.
struct BlockBuffer {
  PyObject_HEAD ionian::BlockView* block;
  std::byte* data;
  Py_ssize_t size;
};

int get_buffer(PyObject* self, Py_buffer* view, int flags) {
  auto* buffer = reinterpret_cast<BlockBuffer*>(self);
  return PyBuffer_FillInfo(view, self, buffer->data, buffer->size, 0, flags);
}

void deallocate(PyObject* self) {
  auto* buffer = reinterpret_cast<BlockBuffer*>(self);
  delete buffer->block;
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

PyTypeObject* block_buffer_type() {
  static PyTypeObject* type = [] {
    static PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(deallocate)},
                                  {Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)},
                                  {0, nullptr}};
    static PyType_Spec spec = {"ionian._core.BlockBuffer", sizeof(BlockBuffer), 0,
                               Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
    return reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  }();
  return type;
}

py::object view_of(const ionian::BlockView& block, std::span<std::byte> bytes) {
  PyTypeObject* type = block_buffer_type();
  PyObject* made = type == nullptr ? nullptr : type->tp_alloc(type, 0);
  if (made == nullptr) throw py::error_already_set();
  const auto owner = py::reinterpret_steal<py::object>(made);
  auto* buffer = reinterpret_cast<BlockBuffer*>(made);
  buffer->block = new ionian::BlockView(block);
  buffer->data = bytes.data();
  buffer->size = static_cast<Py_ssize_t>(bytes.size());
  return py::reinterpret_steal<py::object>(PyMemoryView_FromObject(made));
}

}  // namespace

BorrowedPayload::BorrowedPayload(const py::bytes& head, const py::object& buffers) {
  char* data = nullptr;
  Py_ssize_t size = 0;
  if (PyBytes_AsStringAndSize(head.ptr(), &data, &size) != 0) throw py::error_already_set();
  head_ = {reinterpret_cast<const std::byte*>(data), static_cast<std::size_t>(size)};
  size_ = head_.size();
  if (buffers.is_none()) return;
  for (const py::handle item : buffers) {
    Py_buffer view;
    if (PyObject_GetBuffer(item.ptr(), &view, PyBUF_ANY_CONTIGUOUS) != 0) {
      for (auto& taken : views_) PyBuffer_Release(&taken);
      throw py::error_already_set();
    }
    views_.push_back(view);
    spans_.emplace_back(static_cast<const std::byte*>(view.buf),
                        static_cast<std::size_t>(view.len));
    size_ += static_cast<std::size_t>(view.len);
  }
}

BorrowedPayload::~BorrowedPayload() {
  for (auto& view : views_) PyBuffer_Release(&view);
}

std::pair<py::object, py::object> as_python(const ionian::Received& message) {
  if (message.block.bytes().data() == nullptr) return {py::bytes(message.inline_head), py::tuple()};
  py::tuple buffers(message.buffers.size());
  for (std::size_t i = 0; i < message.buffers.size(); ++i) {
    buffers[i] = view_of(message.block, message.buffers[i]);
  }
  return {view_of(message.block, message.block_head), buffers};
}
