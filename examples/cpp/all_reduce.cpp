// A communicator for each GPU of a lease inside one process, a thread per GPU.
//
//   all_reduce [REQUEST]        e.g. H100:2, the default any:2; IONIAN_GPUS="H100:2" simulates
//
// Every rank adds its number to those of the others, and multiplies what came of it.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "buffer.hpp"
#include "ionian/ionian.hpp"

namespace {

constexpr std::size_t kSize = 64;

/// Returns the first element of (all-reduced matrix) @ (its own).
float work(ionian::Communicator& comm) {
  const Buffer x(comm.device(),
                 std::vector<float>(kSize * kSize, static_cast<float>(comm.rank() + 1)));
  const Buffer product(comm.device(), std::vector<float>(kSize * kSize));
  comm.all_reduce(x.array(), x.array(), ionian::ReduceOp::kSum);
  const auto square = [&](const Buffer& buffer) {
    return ionian::Array(buffer.array().data, ionian::DType::kFloat32, {kSize, kSize},
                         comm.device());
  };
  ionian::matmul(square(x), square(x), square(product));  // in order on the same stream
  comm.wait();
  return product.read().front();
}

int run(const std::string& text) {
  const auto request = ionian::GpuRequest::parse(text);
  ionian::LeaseBook book(ionian::read_inventory(ionian::InventoryOptions::from_environment()), {});
  const auto owner = ionian::this_process_as_owner("all_reduce example", "", "");
  const ionian::Lease lease = book.acquire(request, owner, std::chrono::seconds(60));
  const bool simulated = lease.devices().front().simulated;
  // Before CUDA starts: its numbers then are those of the lease. Slices of one GPU are one device.
  ::setenv("CUDA_VISIBLE_DEVICES", lease.visible_devices().c_str(), 1);
  std::set<std::string_view> gpus;
  for (const auto& device : lease.devices()) gpus.insert(ionian::gpu_of(device.uuid));
  std::vector<int> devices;
  for (std::size_t i = 0; i < gpus.size(); ++i)
    devices.push_back(simulated ? ionian::Array::kHost : static_cast<int>(i));
  auto ranks = ionian::make_communicators(
      devices, simulated ? ionian::CommBackend::kSharedMemory : ionian::CommBackend::kNccl);

  std::vector<float> answers(ranks.size());
  std::vector<std::exception_ptr> failed(ranks.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    threads.emplace_back([&, i] {
      try {
        answers[i] = work(ranks[i]);
      } catch (...) {
        failed[i] = std::current_exception();
        ranks[i].abort();  // so that the others do not wait for us
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& error : failed) {
    if (error) std::rethrow_exception(error);
  }
  const auto many = static_cast<float>(ranks.size());
  const float sum = many * (many + 1) / 2;
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    std::printf("rank %zu on %s: %g, expected %g\n", i, lease.devices()[i].type.c_str(),
                static_cast<double>(answers[i]),
                static_cast<double>(kSize) * static_cast<double>(sum * sum));
    if (answers[i] != static_cast<float>(kSize) * sum * sum) return 1;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc > 1 ? argv[1] : "any:2");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "all_reduce: %s\n", error.what());
    return 1;
  }
}
