#include <algorithm>
#include <stdexcept>

#include "buffer.hpp"

Buffer::Buffer(int device, const std::vector<float>& values)
    : device_(device), size_(values.size()) {
  if (device != ionian::Array::kHost)
    throw std::runtime_error("this example was built without the CUDA Toolkit; IONIAN_GPUS=H100:2");
  data_ = new float[size_];
  std::copy(values.begin(), values.end(), data_);
}
Buffer::~Buffer() { delete[] data_; }

ionian::Array Buffer::array() const {
  return {data_, ionian::DType::kFloat32, {static_cast<std::int64_t>(size_)}, device_};
}
std::vector<float> Buffer::read() const { return {data_, data_ + size_}; }
