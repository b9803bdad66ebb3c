// The rings between a caller and one worker, without executor, interpreter or pickle.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "bench/pinning.hpp"
#include "exec/channel.hpp"

namespace ionian {
namespace {

using bench::Pinning;
using std::chrono::microseconds;

constexpr std::uint64_t kLastCall = ~std::uint64_t{0};

/// Both ends in one process; the worker's may be served by a thread that echoes.
struct Pair {
  Doorbell doorbell;
  CallerChannel caller;
  WorkerChannel worker{UniqueFd(::dup(caller.memory_fd())), UniqueFd(::dup(doorbell.fd())),
                       UniqueFd(::dup(caller.worker_socket()))};

  Received next() {
    for (;;) {
      if (auto request = worker.next()) return std::move(*request);
    }
  }

  void serve_one(const Received& request) {
    worker.started();
    worker.reply(ReplyStatus::kReturned, {request.head(), {}});
  }

  std::thread serve(const Pinning& pinning) {
    return std::thread([this, cpu = pinning.other()] {
      bench::bind_to({cpu});
      for (;;) {
        const Received request = next();
        serve_one(request);
        if (request.call == kLastCall) return;
      }
    });
  }

  /// Waits as the executor does: spins, then sleeps on the doorbell.
  Received receive(microseconds spin) {
    for (;;) {
      const std::uint32_t seen = doorbell.count();
      if (auto reply = caller.receive()) return std::move(*reply);
      if (spin.count() > 0 && doorbell.spin(seen, spin)) continue;
      doorbell.wait(seen, std::chrono::seconds(1));
    }
  }

  void finish(std::thread& thread) {
    caller.send(kLastCall, RequestKind::kCall, {});
    while (receive(microseconds(0)).call != kLastCall) {
    }
    thread.join();
  }
};

std::span<const std::byte> bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

/// Argument: bytes of the payload. 64 lie in the descriptor, 4096 in a block of the arena.
void RoundTripInOneThread(benchmark::State& state) {
  Pair pair;
  const std::string text(static_cast<std::size_t>(state.range(0)), 'x');
  std::uint64_t call = 0;
  for (auto _ : state) {
    pair.caller.send(++call, RequestKind::kCall, {bytes(text), {}});
    pair.serve_one(pair.next());
    benchmark::DoNotOptimize(pair.caller.receive());
  }
}

/// Arguments: pinning (0 spread, 1 one core), microseconds that both sides may spin.
void RoundTrip(benchmark::State& state) {
  const Pinning pinning(static_cast<Pinning::Kind>(state.range(0)));
  const microseconds spin(state.range(1));
  if (spin.count() > 0 && !pinning.spread()) return state.SkipWithError("needs two cores");
  Pair pair;
  pair.caller.set_spin(spin);
  std::thread worker = pair.serve(pinning);
  const std::string text(64, 'x');
  std::uint64_t call = 0;
  for (auto _ : state) {
    pair.caller.send(++call, RequestKind::kCall, {bytes(text), {}});
    benchmark::DoNotOptimize(pair.receive(spin));
  }
  pair.finish(worker);
}

/// Argument: calls under way at once.
void Throughput(benchmark::State& state) {
  const Pinning pinning(Pinning::kSpread);
  const auto depth = static_cast<std::uint64_t>(state.range(0));
  const microseconds spin(pinning.spread() ? 40 : 0);
  Pair pair;
  pair.caller.set_spin(spin);
  std::thread worker = pair.serve(pinning);
  const std::string text(64, 'x');
  std::uint64_t sent = 0;
  std::uint64_t received = 0;
  for (auto _ : state) {
    while (sent - received < depth && !pair.caller.full()) {
      pair.caller.send(++sent, RequestKind::kCall, {bytes(text), {}});
    }
    benchmark::DoNotOptimize(pair.receive(spin));
    ++received;
  }
  while (received < sent) {
    pair.receive(spin);
    ++received;
  }
  pair.finish(worker);
  state.SetItemsProcessed(state.iterations());
}

BENCHMARK(RoundTripInOneThread)->Arg(0)->Arg(64)->Arg(4096);
BENCHMARK(RoundTrip)
    ->ArgNames({"one_core", "spin_us"})
    ->Args({0, 40})
    ->Args({0, 0})
    ->Args({1, 0})
    ->UseRealTime();
BENCHMARK(Throughput)->Arg(1)->Arg(16)->Arg(48)->UseRealTime();

}  // namespace
}  // namespace ionian
