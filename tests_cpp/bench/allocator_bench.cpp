// The allocator's decisions. A grant here is a decision, not a launch: no process is started, no
// lock taken. What a launch costs is in executor_bench (WorkerStart) and in the Python bench's
// row 8.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "lease/allocator.hpp"
#include "support/machines.hpp"

namespace ionian::allocator {
namespace {

/// A machine with everything free, and requests bound to it.
struct Bench {
  explicit Bench(Inventory inventory_)
      : inventory(std::move(inventory_)), state(Machine(inventory)) {}

  [[nodiscard]] std::vector<Alternative> bound(const std::vector<std::string>& texts) const {
    const GpuRequest request = GpuRequest::parse(texts);
    std::vector<Alternative> alternatives;
    for (const auto& item : request.alternatives()) {
      alternatives.push_back(bind(item, inventory, GpuMatch::kUpgrade));
    }
    return alternatives;
  }
  void give_back(std::uint64_t request) {
    for (const auto& effect : step(state, Release{request}, now)) {
      if (const auto* drain = std::get_if<Drain>(&effect)) step(state, Drained{drain->gpu}, now);
    }
  }

  Inventory inventory;
  State state;
  TimePoint now{};
};

Inventory many_l40s(std::size_t count) {
  return machines::machine(std::vector<machines::Model>(count, machines::kL40S), Link::kSystem);
}

/// Request, grant, release, drained, on a machine that is otherwise empty.
void GrantAndGiveBack(benchmark::State& state, const std::function<Inventory()>& machine,
                      const std::vector<std::string>& texts) {
  Bench bench(machine());
  const auto alternatives = bench.bound(texts);
  std::uint64_t request = 0;
  for (auto _ : state) {
    const auto effects = step(bench.state, Request{{++request, 1, alternatives}}, bench.now);
    if (effects.empty() || !std::holds_alternative<Grant>(effects.front())) {
      return state.SkipWithError("it was not granted");
    }
    bench.give_back(request);
  }
  state.SetItemsProcessed(state.iterations());
}

/// A full machine with a queue: each release grants the oldest waiter, and a new one takes its
/// place.
void GrantFromQueue(benchmark::State& state) {
  Bench bench(machines::dgx_h100());
  const std::vector<std::vector<Alternative>> mixture{
      bench.bound({"H100"}), bench.bound({"H100:2"}), bench.bound({"H200", "any:4"}),
      bench.bound({"any"})};
  std::uint64_t next = 0;
  std::int64_t grants = 0;
  const auto ask = [&] {
    const std::uint64_t request = ++next;
    step(bench.state, Request{{request, request, mixture[request % mixture.size()]}}, bench.now);
  };
  for (int i = 0; i < state.range(0); ++i) ask();
  for (auto _ : state) {
    const std::size_t before = bench.state.leases.size();
    bench.give_back(bench.state.leases.begin()->first);
    grants += static_cast<std::int64_t>(bench.state.leases.size() + 1 - before);
    while (bench.state.queue.size() < static_cast<std::size_t>(state.range(0))) ask();
  }
  state.SetItemsProcessed(grants);
}

using Texts = std::vector<std::string>;
BENCHMARK_CAPTURE(GrantAndGiveBack, one_of_8, machines::dgx_h100, Texts{"H100"});
BENCHMARK_CAPTURE(GrantAndGiveBack, gang_of_4_of_8, machines::dgx_h100, Texts{"H100:4"});
BENCHMARK_CAPTURE(GrantAndGiveBack, gang_of_4_of_a_cube_mesh, machines::dgx_v100, Texts{"any:4"});
BENCHMARK_CAPTURE(GrantAndGiveBack, second_fallback, machines::dgx_a100,
                  Texts{"B200:8", "H100:2", "A100:2"});
BENCHMARK_CAPTURE(
    GrantAndGiveBack, one_of_64, [] { return many_l40s(64); }, Texts{"L40S"});
BENCHMARK_CAPTURE(
    GrantAndGiveBack, one_of_512, [] { return many_l40s(512); }, Texts{"L40S"});
BENCHMARK(GrantFromQueue)->ArgName("waiting")->Arg(1)->Arg(16)->Arg(256);

}  // namespace
}  // namespace ionian::allocator
