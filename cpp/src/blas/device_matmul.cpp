// The matmul of a real GPU: finds the plan, or makes it, and launches it on the caller's stream.
#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "blas/activation.hpp"
#include "blas/algorithm_store.hpp"
#include "blas/plan.hpp"
#include "blas/tuner.hpp"
#include "cuda/device.hpp"
#include "ionian/error.hpp"

namespace ionian::blas {
namespace {

constexpr int kTuneAfter = 10;  // calls: what is done once is not worth measuring
constexpr std::size_t kMostWorkspaces = 16;
constexpr int kMostDevices = 64;

std::string device_name(int device) {
  std::array<char, 128> name{};
  int handle = 0;
  cuda::check(cuda::driver().cuDeviceGet(&handle, device), "find the GPU");
  cuda::check(cuda::driver().cuDeviceGetName(name.data(), static_cast<int>(name.size()), handle),
              "ask for the GPU's name");
  return name.data();
}

/// What is kept for one GPU. Never destroyed: the driver can be gone before static objects are.
class DeviceBlas {
 public:
  explicit DeviceBlas(int device)
      : device_(device),
        store_(AlgorithmStore::default_path("matmul-" +
                                            std::to_string(cublaslt::api().cublasLtGetVersion()) +
                                            "-" + device_name(device))) {
    cublaslt::check(cublaslt::api().cublasLtCreate(&handle_), "start cuBLASLt");
  }

  Plan& plan(const Problem& problem) {
    const std::lock_guard lock(mutex_);
    auto& plan = plans_[problem];
    if (!plan) {
      const auto stored = store_.find(problem.to_string());
      try {
        plan = std::make_unique<Plan>(handle_, problem, stored ? &*stored : nullptr);
      } catch (...) {
        plans_.erase(problem);
        throw;
      }
    }
    return *plan;
  }

  void* workspace(cuda::StreamHandle stream) {
    const std::lock_guard lock(mutex_);
    const auto found = workspaces_.find(stream);
    if (found != workspaces_.end()) return reinterpret_cast<void*>(found->second.get());
    const cuda::CaptureGuard relaxed;
    if (workspaces_.size() == kMostWorkspaces) {
      cuda::check(cuda::driver().cuCtxSynchronize(), "wait for the GPU");
      workspaces_.clear();
    }
    auto& made = workspaces_[stream] = cuda::make_device_memory(kWorkspaceBytes);
    return reinterpret_cast<void*>(made.get());
  }

  void count(Plan& plan) {
    if (plan.tuned() || plan.count() != kTuneAfter) return;
    if (Tuner* tuner = Tuner::instance()) tuner->request(plan, store_, device_);
  }

 private:
  const int device_;
  cublaslt::Handle handle_ = nullptr;
  AlgorithmStore store_;
  std::mutex mutex_;
  std::unordered_map<Problem, std::unique_ptr<Plan>, ProblemHash> plans_;
  std::map<cuda::StreamHandle, cuda::DeviceMemory> workspaces_;
};

DeviceBlas& blas_of(int device) {
  static std::mutex mutex;
  static std::array<DeviceBlas*, kMostDevices> all{};
  if (device < 0 || device >= kMostDevices)
    throw InvalidError("[matmul] cuda:" + std::to_string(device) + " is no GPU of this process");
  const std::lock_guard lock(mutex);
  DeviceBlas*& found = all[static_cast<std::size_t>(device)];
  if (found == nullptr) found = new DeviceBlas(device);
  return *found;
}

/// A product over nothing is all zeros.
void clear(const Call& call, cuda::StreamHandle stream) {
  const Problem& problem = call.problem;
  const bool gapless = problem.out.ld == problem.n && call.loops == 0 &&
                       (problem.batch == 1 || problem.out.stride == problem.m * problem.n);
  if (problem.has_bias || problem.has_c || !gapless) {
    throw InvalidError("[matmul] k is 0, with a bias, c or gaps in out; expected k of at least 1");
  }
  const auto bytes =
      static_cast<std::size_t>(problem.m * problem.n * problem.batch) * size_of(problem.out.dtype);
  cuda::check(cuda::driver().cuMemsetD8Async(
                  reinterpret_cast<cuda::DevicePointer>(call.pointers.out), 0, bytes, stream),
              "clear the result");
}

}  // namespace

void device_matmul(const Call& call, double alpha, double beta, int device, CUstream_st* stream) {
  const cuda::ContextGuard guard(device);
  if (call.problem.k == 0) return clear(call, stream);
  DeviceBlas& blas = blas_of(device);
  Plan& plan = blas.plan(call.problem);
  void* workspace = blas.workspace(stream);
  call.each([&](const Pointers& at) {
    plan.run(at, alpha, beta, workspace, stream);
    if (call.problem.activation == Activation::kSilu) silu(call.problem, at.out, device, stream);
  });
  blas.count(plan);
}

}  // namespace ionian::blas
