#include "blas/tuner.hpp"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <string_view>

#include "cuda/device.hpp"
#include "ionian/error.hpp"
#include "ionian/log.hpp"

namespace ionian::blas {
namespace {

constexpr int kCandidates = 8;
constexpr int kRounds = 3;
constexpr float kRoundMs = 1.0F;         // about; a product that takes longer runs once a round
constexpr double kClearlyFaster = 0.98;  // below that it may be noise
constexpr std::size_t kMostBytes = std::size_t{2} << 30;
constexpr unsigned char kFill = 0x3c;  // a small positive number in every type

/// Returns the bytes from the first element to the last.
std::size_t span_of(const Matrix& matrix, std::int64_t rows, std::int64_t columns,
                    std::int64_t batch) {
  const std::int64_t lines = matrix.by_columns ? columns : rows;
  const std::int64_t elements = matrix.ld * lines + matrix.stride * (batch - 1);
  return static_cast<std::size_t>(elements) * size_of(matrix.dtype);
}

/// Memory for a run of a problem.
struct Buffers {
  explicit Buffers(const Problem& problem) {
    const std::size_t a = padded(span_of(problem.a, problem.m, problem.k, problem.batch));
    const std::size_t b = padded(span_of(problem.b, problem.k, problem.n, problem.batch));
    const std::size_t c = padded(span_of(problem.c, problem.m, problem.n, problem.batch));
    const std::size_t out = padded(span_of(problem.out, problem.m, problem.n, problem.batch));
    const std::size_t bias = padded(static_cast<std::size_t>(problem.n) * 8);
    bytes = a + b + c + out + bias + 512;
    std::size_t available = 0;
    std::size_t total = 0;
    cuda::check(cuda::driver().cuMemGetInfo_v2(&available, &total), "ask for free memory");
    if (bytes > std::min(kMostBytes, available / 4)) return;
    memory = cuda::make_device_memory(bytes + kWorkspaceBytes);
    auto* at = reinterpret_cast<std::byte*>(memory.get());
    workspace = at;
    at += kWorkspaceBytes;
    pointers.a = at;
    pointers.b = at += a;
    pointers.c = at += b;
    pointers.out = at += c;
    pointers.bias = at += out;
    pointers.scale_a = reinterpret_cast<float*>(at += bias);
    pointers.scale_b = pointers.scale_a + 64;
  }
  static std::size_t padded(std::size_t size) { return (size + 255) / 256 * 256; }

  std::size_t bytes = 0;
  cuda::DeviceMemory memory;
  void* workspace = nullptr;
  Pointers pointers;
};

}  // namespace

Tuner* Tuner::instance() {
  const char* set = std::getenv("IONIAN_BLAS_TUNE");
  if (set != nullptr && std::string_view(set) == "0") return nullptr;
  static Tuner tuner;
  return &tuner;
}

Tuner::~Tuner() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Tuner::request(Plan& plan, AlgorithmStore& store, int device) {
  const std::lock_guard lock(mutex_);
  requests_.push_back({&plan, &store, device});
  if (!thread_.joinable()) thread_ = std::thread([this] { loop(); });
  changed_.notify_all();
}

void Tuner::drain() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return (requests_.empty() && !busy_) || stop_; });
}

void Tuner::loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stop_ || !requests_.empty(); });
    if (stop_) return;
    const Request request = requests_.front();
    requests_.pop_front();
    busy_ = true;
    lock.unlock();
    try {
      tune(request);
    } catch (const Error& error) {
      log(LogLevel::kInfo, std::string("a matmul was not measured: ") + error.what());
    }
    lock.lock();
    busy_ = false;
    changed_.notify_all();
  }
}

void Tuner::tune(const Request& request) {
  Plan& plan = *request.plan;
  const cuda::ContextGuard guard(request.device);
  const cuda::CaptureGuard relaxed;
  const auto algos = plan.candidates(kCandidates);
  if (algos.size() < 2) {
    plan.adopt(algos.front());
    return;
  }
  const Buffers buffers(plan.problem());
  if (!buffers.memory) return;
  const cuda::Stream stream = cuda::make_stream();
  const cuda::Event begin = cuda::make_event(true);
  const cuda::Event end = cuda::make_event(true);
  const cuda::Driver& cuda = cuda::driver();
  cuda::check(cuda.cuMemsetD8Async(buffers.memory.get(), kFill, buffers.bytes + kWorkspaceBytes,
                                   stream.get()),
              "fill memory");
  /// Milliseconds of one product, infinite if the algorithm does not work.
  const auto time = [&](const cublaslt::Algo& algo, int repeats) {
    cuda::check(cuda.cuEventRecord(begin.get(), stream.get()), "measure");
    for (int i = 0; i < repeats; ++i) {
      if (!plan.try_run(algo, buffers.pointers, buffers.workspace, stream.get()))
        return std::numeric_limits<float>::infinity();
    }
    cuda::check(cuda.cuEventRecord(end.get(), stream.get()), "measure");
    cuda::check(cuda.cuEventSynchronize(end.get()), "measure");
    float ms = 0;
    cuda::check(cuda.cuEventElapsedTime(&ms, begin.get(), end.get()), "measure");
    return ms / static_cast<float>(repeats);
  };
  time(algos.front(), 2);
  const float once = time(algos.front(), 2);
  const int repeats = std::clamp(static_cast<int>(kRoundMs / std::max(once, 1e-3F)), 1, 50);
  std::vector<float> best(algos.size(), std::numeric_limits<float>::infinity());
  for (std::size_t i = 0; i < algos.size(); ++i) time(algos[i], 1);
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < algos.size(); ++i) {
      {
        const std::lock_guard lock(mutex_);
        if (stop_) return;
      }
      best[i] = std::min(best[i], time(algos[i], repeats));
    }
  }
  const auto fastest =
      static_cast<std::size_t>(std::min_element(best.begin(), best.end()) - best.begin());
  const std::size_t chosen = best[fastest] < kClearlyFaster * best[0] ? fastest : 0;
  plan.adopt(algos[chosen]);
  request.store->add(plan.problem().to_string(), algos[chosen]);
}

}  // namespace ionian::blas
