// Parsing of `gpu=`: once per decorated function, and again in every process that imports it.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "ionian/error.hpp"
#include "ionian/gpu_request.hpp"

namespace ionian {
namespace {

void Parse(benchmark::State& state, const std::vector<std::string>& texts) {
  for (auto _ : state) benchmark::DoNotOptimize(GpuRequest::parse(texts));
}

/// Wrong requests cost more: the nearest valid spelling is looked for.
void ParseAndExplainTheError(benchmark::State& state, const std::string& text) {
  for (auto _ : state) {
    try {
      benchmark::DoNotOptimize(GpuRequest::parse(text));
      return state.SkipWithError("it was accepted");
    } catch (const Error& error) {
      benchmark::DoNotOptimize(error.what());
    }
  }
}

BENCHMARK_CAPTURE(Parse, any, std::vector<std::string>{"any"});
BENCHMARK_CAPTURE(Parse, model, std::vector<std::string>{"H100"});
BENCHMARK_CAPTURE(Parse, model_and_count, std::vector<std::string>{"a100-80gb:4"});
BENCHMARK_CAPTURE(Parse, fallbacks,
                  std::vector<std::string>{"H100:8", "A100-80GB:8", "40GB:2", "any"});
BENCHMARK_CAPTURE(ParseAndExplainTheError, unknown_model, std::string("H10"));
BENCHMARK_CAPTURE(ParseAndExplainTheError, bad_count, std::string("H100:zero"));

}  // namespace
}  // namespace ionian
