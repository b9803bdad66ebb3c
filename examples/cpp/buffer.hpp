// buffer.hpp: numbers where a rank computes: on its GPU, or on the host where GPUs are simulated.
#pragma once

#include <cstddef>
#include <vector>

#include "ionian/array.hpp"

/// Owns float32 numbers. Built with the CUDA Toolkit (buffer_cuda.cpp) it can lie on a GPU, without
/// it (buffer_host.cpp) on the host only.
class Buffer {
 public:
  /// `device`: CUDA's number of the GPU, Array::kHost for the host.
  Buffer(int device, const std::vector<float>& values);
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  [[nodiscard]] ionian::Array array() const;
  /// Returns the numbers, once all work on the default stream is done.
  [[nodiscard]] std::vector<float> read() const;

 private:
  int device_;
  std::size_t size_;
  float* data_ = nullptr;
};
