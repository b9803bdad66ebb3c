// Calls through a real executor: guardian, launcher and workers, without an interpreter in any of
// them.
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <thread>

#include "bench/pinning.hpp"
#include "exec/executor.hpp"
#include "exec/process.hpp"
#include "support/temporary_directory.hpp"

namespace ionian {
namespace {

using namespace std::chrono_literals;  // NOLINT: a bench only

/// A run with one pool on simulated GPUs or CPUs; ended, with all its processes, by the destructor.
class Run {
 public:
  explicit Run(PoolOptions options = {}, const std::string& gpu = "") {
    ExecutorOptions run_options;
    run_options.guardian = IONIAN_GUARDIAN;
    run_options.app = "bench";
    run_options.simulate = "A10G:1";
    run_options.lock_dir = locks_.path();
    executor_ = std::make_unique<Executor>(run_options);
    options.launcher =
        executor_->start_launcher({{IONIAN_SCRIPTED_LAUNCHER}, process::environment(), "", ""});
    options.name = "bench";
    options.max_containers = 1;
    if (!gpu.empty()) options.gpu = GpuRequest::parse(gpu);
    pool_ = executor_->create_pool(std::move(options));
    call("echo");
  }
  ~Run() { executor_->close(0ms); }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  [[nodiscard]] static Payload payload(const std::string& text) {
    return {std::as_bytes(std::span(text)), {}};
  }

  /// Returns whether it was answered.
  bool call(const std::string& text) {
    const CallPtr made = executor_->submit(pool_, payload(text), nullptr, 0, true);
    return executor_->wait(*made, sys::Clock::now() + 10s) && !made->failure;
  }

  void wait_until_no_worker_is_left() {
    while (executor_->workers(pool_) != 0) std::this_thread::sleep_for(100us);
  }

  Executor& executor() { return *executor_; }
  Pool* pool() { return pool_; }

 private:
  testing::TemporaryDirectory locks_;
  std::unique_ptr<Executor> executor_;
  Pool* pool_ = nullptr;
};

/// Submit and wait. On one core everything, worker included, is bound before it starts.
void RoundTrip(benchmark::State& state) {
  const auto before = bench::usable_processors();
  if (state.range(0) == 1) bench::bind_to({before.front()});
  {
    Run run;
    for (auto _ : state) {
      if (!run.call("echo x")) return state.SkipWithError("no answer");
    }
  }
  bench::bind_to(before);
}

/// As `.map()` does it: many under way, completions taken in batches. Argument: calls under way.
void Throughput(benchmark::State& state) {
  Run run;
  const auto depth = static_cast<std::size_t>(state.range(0));
  const auto group = std::make_shared<CallGroup>();
  std::size_t under_way = 0;
  std::size_t finished = 0;
  for (auto _ : state) {
    while (finished == 0) {
      for (; under_way < depth; ++under_way)
        run.executor().submit(run.pool(), Run::payload("echo x"), group);
      if (!run.executor().wait(*group, sys::Clock::now() + 10s))
        return state.SkipWithError("no answer");
      finished = run.executor().take(*group, 256).size();
      under_way -= finished;
    }
    --finished;
  }
  while (under_way != 0 && run.executor().wait(*group, sys::Clock::now() + 10s)) {
    under_way -= run.executor().take(*group, 256).size();
  }
  state.SetItemsProcessed(state.iterations());
}

/// From a call that finds no worker to its answer: order, lease (argument 1), fork, setup, call.
void WorkerStart(benchmark::State& state) {
  PoolOptions options;
  options.scaledown_window = 1ms;
  Run run(options, state.range(0) == 1 ? "any" : "");
  for (auto _ : state) {
    run.wait_until_no_worker_is_left();
    const auto begin = std::chrono::steady_clock::now();
    if (!run.call("echo x")) return state.SkipWithError("no answer");
    state.SetIterationTime(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
}

/// From the worker's SIGKILL of itself, in a call, to the call's error.
void DeathToError(benchmark::State& state) {
  Run run;
  for (auto _ : state) {
    if (!run.call("echo x")) return state.SkipWithError("no answer");
    const auto begin = std::chrono::steady_clock::now();
    if (run.call("kill 9")) return state.SkipWithError("a killed worker answered");
    state.SetIterationTime(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
}

/// A whole run: guardian, launcher, worker, first answer, and all of it ended again.
void WholeRun(benchmark::State& state) {
  for (auto _ : state) {
    const Run run;
  }
}

BENCHMARK(RoundTrip)->ArgName("one_core")->Arg(0)->Arg(1)->UseRealTime();
BENCHMARK(Throughput)->Arg(1)->Arg(64)->Arg(1000)->UseRealTime();
BENCHMARK(WorkerStart)
    ->ArgName("gpu")
    ->Arg(0)
    ->Arg(1)
    ->UseManualTime()
    ->Iterations(100)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK(DeathToError)->UseManualTime()->Iterations(100)->Unit(benchmark::kMicrosecond);
BENCHMARK(WholeRun)->UseRealTime()->Iterations(20)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace ionian
