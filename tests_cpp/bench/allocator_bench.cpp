// The allocator's decisions. A grant here is a decision, not a launch: no process is started, no
// lock taken. What a launch costs is in executor_bench (WorkerStart) and in the Python bench's
// row 8. How it grows is allocator_scale's table.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bench/allocator_fleet.hpp"

namespace ionian::allocator {
namespace {

/// A machine with everything free, and requests bound to it.
struct Bench {
  explicit Bench(Inventory inventory_)
      : inventory(std::move(inventory_)), state(Machine(inventory)) {}

  [[nodiscard]] std::shared_ptr<const Demand> bound(const std::vector<std::string>& texts) const {
    const GpuRequest request = GpuRequest::parse(texts);
    std::vector<Alternative> alternatives;
    for (const auto& item : request.alternatives()) {
      alternatives.push_back(bind(item, inventory, GpuMatch::kUpgrade));
    }
    return demand(state.layout(), alternatives);
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
  const auto wanted = bench.bound(texts);
  std::vector<Effect> effects;
  std::vector<Effect> ignored;
  std::uint64_t request = 0;
  for (auto _ : state) {
    effects.clear();
    step(bench.state, Request{{++request, 1, wanted}}, bench.now, effects);
    if (effects.empty() || !std::holds_alternative<Grant>(effects.front())) {
      return state.SkipWithError("it was not granted");
    }
    effects.clear();
    step(bench.state, Release{request}, bench.now, effects);
    for (const auto& effect : effects) {
      step(bench.state, Drained{std::get<Drain>(effect).gpu}, bench.now, ignored);
    }
  }
  state.SetItemsProcessed(state.iterations());
}

/// A full fleet with a queue: each release grants waiters, and new ones take their places.
void GrantFromQueue(benchmark::State& state) {
  bench::Fleet fleet(static_cast<std::size_t>(state.range(0)), bench::loads().back());
  std::int64_t grants = 0;
  for (auto _ : state) {
    fleet.turn([&](const Event& event) { grants += static_cast<std::int64_t>(fleet.step(event)); });
  }
  state.SetItemsProcessed(grants);
  state.SetLabel("decisions, not launches");
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
BENCHMARK(GrantFromQueue)->ArgName("gpus")->Arg(128)->Arg(131'072)->Arg(1'048'576);

}  // namespace
}  // namespace ionian::allocator
