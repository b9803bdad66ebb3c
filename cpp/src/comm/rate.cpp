#include "comm/rate.hpp"

#include <chrono>
#include <exception>
#include <limits>
#include <thread>

#include "base/syscall.hpp"
#include "cuda/device.hpp"
#include "ionian/communicator.hpp"

namespace ionian {
namespace {

constexpr int kRounds = 6;

double best_seconds(Communicator& comm, std::size_t bytes) {
  const cuda::ContextGuard guard(comm.device());
  const auto memory = cuda::make_device_memory(bytes);
  const Array array(reinterpret_cast<void*>(memory.get()), DType::kFloat32,
                    {static_cast<std::int64_t>(bytes / sizeof(float))}, comm.device());
  const cuda::Stream stream = cuda::make_stream();
  double best = std::numeric_limits<double>::infinity();
  for (int round = 0; round < kRounds; ++round) {
    comm.barrier(stream.get());
    const auto begin = sys::Clock::now();
    comm.all_reduce(array, array, ReduceOp::kMax, stream.get());
    comm.wait(stream.get());
    best = std::min(best, std::chrono::duration<double>(sys::Clock::now() - begin).count());
  }
  return best;
}

}  // namespace

double all_reduce_bandwidth(const std::vector<int>& devices, std::size_t bytes) {
  auto ranks = make_communicators(devices, CommBackend::kNccl);
  std::vector<double> seconds(ranks.size());
  std::vector<std::exception_ptr> failed(ranks.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    threads.emplace_back([&, i] {
      try {
        seconds[i] = best_seconds(ranks[i], bytes);
      } catch (...) {
        failed[i] = std::current_exception();
        ranks[i].abort();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& error : failed) {
    if (error) std::rethrow_exception(error);
  }
  const auto many = static_cast<double>(devices.size());
  return static_cast<double>(bytes) / 1e9 / seconds.front() * 2 * (many - 1) / many;
}

}  // namespace ionian
