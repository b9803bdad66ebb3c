#include <cuda_runtime_api.h>

#include <algorithm>
#include <stdexcept>

#include "buffer.hpp"

namespace {
void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}
}  // namespace

Buffer::Buffer(int device, const std::vector<float>& values)
    : device_(device), size_(values.size()) {
  if (device == ionian::Array::kHost) {
    data_ = new float[size_];
    std::copy(values.begin(), values.end(), data_);
    return;
  }
  check(cudaSetDevice(device));
  check(cudaMalloc(reinterpret_cast<void**>(&data_), size_ * sizeof(float)));
  check(cudaMemcpy(data_, values.data(), size_ * sizeof(float), cudaMemcpyHostToDevice));
}
Buffer::~Buffer() {
  if (device_ == ionian::Array::kHost) {
    delete[] data_;
  } else {
    cudaFree(data_);
  }
}

ionian::Array Buffer::array() const {
  return {data_, ionian::DType::kFloat32, {static_cast<std::int64_t>(size_)}, device_};
}
std::vector<float> Buffer::read() const {
  std::vector<float> values(data_, data_ + (device_ == ionian::Array::kHost ? size_ : 0));
  if (device_ == ionian::Array::kHost) return values;
  values.resize(size_);
  check(cudaSetDevice(device_));
  check(cudaMemcpy(values.data(), data_, size_ * sizeof(float), cudaMemcpyDeviceToHost));
  return values;
}
