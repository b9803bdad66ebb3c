// Blocks of shared memory: what one costs, and how fast bytes get into it.
#include <benchmark/benchmark.h>

#include <cstring>
#include <memory>
#include <vector>

#include "exec/arena.hpp"

namespace ionian {
namespace {

/// A sender and its receiver in one process.
struct Peers {
  std::vector<std::byte> base = std::vector<std::byte>(std::size_t{1} << 20);
  SlabTable receiver;
  Arena arena{base, [this](const Slab& slab) {
                if (slab.fd) {
                  receiver.add(slab.id, slab.fd.duplicate(), slab.bytes.size());
                } else {
                  receiver.drop(slab.id);
                }
              }};
  Peers() {
    auto slab = std::make_shared<Slab>();
    slab->bytes = base;
    receiver.add(slab);
  }
};

void count_bytes(benchmark::State& state) {
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

/// Allocate, view, release: no byte is copied. Argument: bytes.
void BlockThereAndBack(benchmark::State& state) {
  Peers peers;
  const auto size = static_cast<std::size_t>(state.range(0));
  for (auto _ : state) {
    const auto block = peers.arena.allocate(size);
    benchmark::DoNotOptimize(peers.receiver.view(block.ref));
  }
}

/// The same with the payload copied in, as a call does.
void CopyIntoBlock(benchmark::State& state) {
  Peers peers;
  const auto size = static_cast<std::size_t>(state.range(0));
  const std::vector<std::byte> from(size, std::byte{1});
  for (auto _ : state) {
    const auto block = peers.arena.allocate(size);
    copy_bytes(block.data, from.data(), size);
    benchmark::DoNotOptimize(peers.receiver.view(block.ref));
  }
  count_bytes(state);
}

/// The first use of a slab: its pages are made and faulted in.
void CopyIntoFreshSlab(benchmark::State& state) {
  const auto size = static_cast<std::size_t>(state.range(0));
  const std::vector<std::byte> from(size, std::byte{1});
  for (auto _ : state) {
    state.PauseTiming();
    auto peers = std::make_unique<Peers>();
    state.ResumeTiming();
    const auto block = peers->arena.allocate(size);
    copy_bytes(block.data, from.data(), size);
    state.PauseTiming();
    peers.reset();
    state.ResumeTiming();
  }
  count_bytes(state);
}

/// The floor: the same bytes into warm private memory.
void Memcpy(benchmark::State& state) {
  const auto size = static_cast<std::size_t>(state.range(0));
  const std::vector<std::byte> from(size, std::byte{1});
  std::vector<std::byte> to(size);
  for (auto _ : state) {
    std::memcpy(to.data(), from.data(), size);
    benchmark::ClobberMemory();
  }
  count_bytes(state);
}

BENCHMARK(BlockThereAndBack)->Arg(1'000)->Arg(100'000)->Arg(1'000'000);
BENCHMARK(CopyIntoBlock)->Arg(1'000)->Arg(100'000)->Arg(1'000'000)->Arg(100'000'000);
BENCHMARK(CopyIntoFreshSlab)->Arg(100'000'000);
BENCHMARK(Memcpy)->Arg(1'000)->Arg(100'000)->Arg(1'000'000)->Arg(100'000'000);

}  // namespace
}  // namespace ionian
