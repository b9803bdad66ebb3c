#include "blas/activation.hpp"

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include "cuda/kernel.hpp"

namespace ionian::blas {
namespace {

constexpr unsigned kThreads = 256;
constexpr std::int64_t kMostBlocks = 65535;  // of a grid's second and third dimension

// NVRTC comes without cuda_fp16.h, so 16-bit types are converted by PTX and by bits.
constexpr const char* kSource = R"(
__device__ float load(const float* x) { return *x; }
__device__ void store(float* x, float value) { *x = value; }
__device__ double load(const double* x) { return *x; }
__device__ void store(double* x, double value) { *x = value; }

struct Half { unsigned short bits; };
__device__ float load(const Half* x) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(x->bits));
  return value;
}
__device__ void store(Half* x, float value) {
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(x->bits) : "f"(value));
}

struct BFloat16 { unsigned short bits; };
__device__ float load(const BFloat16* x) {
  return __uint_as_float(static_cast<unsigned>(x->bits) << 16);
}
__device__ void store(BFloat16* x, float value) {  // to nearest, ties to even
  const unsigned bits = __float_as_uint(value);
  const bool nan = value != value;
  x->bits = nan ? 0x7fff : static_cast<unsigned short>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

__device__ float silu(float x) { return x / (1.0f + __expf(-x)); }
__device__ double silu(double x) { return x / (1.0 + exp(-x)); }

template <class T>
__device__ void over(T* out, long long rows, long long columns, long long ld, long long batch,
                     long long stride) {
  const long long column = blockIdx.x * static_cast<long long>(blockDim.x) + threadIdx.x;
  if (column >= columns) return;
  for (long long b = blockIdx.z; b < batch; b += gridDim.z) {
    for (long long row = blockIdx.y; row < rows; row += gridDim.y) {
      T* at = out + b * stride + row * ld + column;
      store(at, silu(load(at)));
    }
  }
}

#define KERNEL(name, T)                                                                      \
  extern "C" __global__ void name(T* out, long long rows, long long columns, long long ld,   \
                                  long long batch, long long stride) {                       \
    over(out, rows, columns, ld, batch, stride);                                             \
  }
KERNEL(silu_float64, double)
KERNEL(silu_float32, float)
KERNEL(silu_float16, Half)
KERNEL(silu_bfloat16, BFloat16)
)";

cuda::Function kernel_of(DType dtype, int device) {
  static std::mutex mutex;
  static std::map<std::pair<int, DType>, cuda::Function> kernels;
  const std::lock_guard lock(mutex);
  auto& kernel = kernels[{device, dtype}];
  if (kernel == nullptr) {
    const std::string name = std::string("silu_") + to_string(dtype);
    kernel = cuda::load_kernel(kSource, name.c_str(), device);
  }
  return kernel;
}

}  // namespace

const char* silu_source() { return kSource; }

void silu(const Problem& problem, std::byte* out, int device, cuda::StreamHandle stream) {
  std::int64_t rows = problem.m;
  std::int64_t columns = problem.n;
  std::int64_t ld = problem.out.ld;
  std::int64_t batch = problem.batch;
  std::int64_t stride = problem.out.stride;
  void* arguments[] = {&out, &rows, &columns, &ld, &batch, &stride};  // NOLINT: CUDA's own form
  const auto across = static_cast<unsigned>((columns + kThreads - 1) / kThreads);
  cuda::check(cuda::driver().cuLaunchKernel(kernel_of(problem.out.dtype, device), across,
                                            static_cast<unsigned>(std::min(rows, kMostBlocks)),
                                            static_cast<unsigned>(std::min(batch, kMostBlocks)),
                                            kThreads, 1, 1, 0, stream, arguments, nullptr),
              "launch silu");
}

}  // namespace ionian::blas
