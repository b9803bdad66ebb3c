#include "blas/rate.hpp"

#include <algorithm>
#include <limits>

#include "cuda/device.hpp"
#include "ionian/matmul.hpp"

namespace ionian::blas {
namespace {

constexpr int kRounds = 6;
constexpr int kEach = 5;
constexpr unsigned char kFill = 0x3c;  // a small positive number in every type

}  // namespace

double matmul_rate(int device, DType dtype, std::int64_t n) {
  const cuda::Driver& cuda = cuda::driver();
  const cuda::ContextGuard guard(device);
  const DType result = matmul_dtype(dtype, dtype);
  const auto elements = static_cast<std::size_t>(n * n);
  const auto memory = [&](std::size_t bytes) {
    auto made = cuda::make_device_memory(bytes);
    cuda::check(cuda.cuMemsetD8Async(made.get(), kFill, bytes, nullptr), "fill memory");
    return made;
  };
  const auto a_memory = memory(elements * size_of(dtype));
  const auto b_memory = memory(elements * size_of(dtype));
  const auto out_memory = memory(elements * size_of(result));
  const auto view = [&](const cuda::DeviceMemory& at, DType type) {
    return Array(reinterpret_cast<void*>(at.get()), type, {n, n}, device);
  };
  const Array a = view(a_memory, dtype);
  Array b = view(b_memory, dtype);
  b.steps = {1, n};
  const Array out = view(out_memory, result);
  cuda::check(cuda.cuCtxSynchronize(), "fill memory");
  const cuda::Stream stream = cuda::make_stream();
  MatmulOptions options;
  options.stream = stream.get();
  const cuda::Event begin = cuda::make_event(true);
  const cuda::Event end = cuda::make_event(true);
  float best = std::numeric_limits<float>::infinity();
  for (int round = 0; round < kRounds; ++round) {
    cuda::check(cuda.cuEventRecord(begin.get(), stream.get()), "measure a product");
    for (int i = 0; i < kEach; ++i) matmul(a, b, out, options);
    cuda::check(cuda.cuEventRecord(end.get(), stream.get()), "measure a product");
    cuda::check(cuda.cuEventSynchronize(end.get()), "measure a product");
    float ms = 0;
    cuda::check(cuda.cuEventElapsedTime(&ms, begin.get(), end.get()), "measure a product");
    best = std::min(best, ms / kEach);
  }
  const auto size = static_cast<double>(n);
  return 2 * size * size * size / (static_cast<double>(best) * 1e9);
}

}  // namespace ionian::blas
