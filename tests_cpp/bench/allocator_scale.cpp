// allocator_scale: how the allocator grows from 10² to 10⁶ GPUs, as CSV on standard output, beside
// the floor: a bare free list, whose pops and pushes decide nothing.
//
//   allocator_scale [GRANTS]    grants measured for each line, 200,000 unless said
//
// A grant here is a decision, not a launch. Rates are per second of one processor's time, quantiles
// are of the wall time of the events that bring a grant.
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <string>
#include <vector>

#include "bench/allocator_fleet.hpp"

namespace {

using namespace ionian;
using Clock = std::chrono::steady_clock;

/// Returns what this thread has used of its processor: a rate by it is that of a quiet machine,
/// also on a busy one.
double processor_seconds() {
  timespec used{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

double seconds_since(Clock::time_point began) {
  return std::chrono::duration<double>(Clock::now() - began).count();
}

/// Returns pairs of a push and a pop per second on a bare free list of all GPUs, 85 % of which are
/// out, with the holder of each noted: the least that any allocator does.
double floor_rate(std::size_t gpus, std::size_t pairs) {
  simulation::Random random(1);
  std::vector<std::uint32_t> next(gpus);
  std::vector<std::uint64_t> holder(gpus);
  std::vector<std::uint32_t> out(gpus * 85 / 100);
  std::iota(out.begin(), out.end(), 0);
  std::iota(next.begin(), next.end(), 1);
  auto head = static_cast<std::uint32_t>(out.size());
  auto tail = static_cast<std::uint32_t>(gpus - 1);
  const double began = processor_seconds();
  for (std::size_t i = 1; i <= pairs; ++i) {
    std::uint32_t& one = out[random.below(out.size())];
    holder[one] = 0;
    tail = next[tail] = one;
    one = head;
    head = next[head];
    holder[one] = i;
  }
  const double seconds = processor_seconds() - began;
  // Somebody looks at the result, so it must be computed.
  if (holder[head] != 0) std::fprintf(stderr, "the floor's list is broken\n");
  return static_cast<double>(pairs) / seconds;
}

struct Line {
  double per_second = 0;
  double p50_us = 0;
  double p99_us = 0;
};

Line measure(bench::Fleet& fleet, std::size_t grants) {
  const auto run = [&](auto timed) {
    std::size_t done = 0;
    while (done < grants) {
      fleet.turn([&](const allocator::Event& event) { done += timed(event); });
    }
    return done;
  };
  run([&](const allocator::Event& event) { return fleet.step(event); });  // caches are warm
  Line line;
  const double began = processor_seconds();
  const std::size_t done = run([&](const allocator::Event& event) { return fleet.step(event); });
  line.per_second = static_cast<double>(done) / (processor_seconds() - began);
  // Again, each event that brings a grant with its own time.
  std::vector<double> times;
  run([&](const allocator::Event& event) {
    const auto start = Clock::now();
    const std::size_t granted = fleet.step(event);
    if (granted > 0) times.push_back(seconds_since(start) * 1e6);
    return granted;
  });
  std::sort(times.begin(), times.end());
  line.p50_us = times[times.size() / 2];
  line.p99_us = times[times.size() * 99 / 100];
  return line;
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t grants = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 200'000;
  if (grants == 0) {
    std::fprintf(stderr, "usage: allocator_scale [GRANTS]\n");
    return 2;
  }
  std::fprintf(stderr, "Grants are decisions, not launches.\n");
  std::printf("gpus,load,grants_per_s,p50_us,p99_us,bytes_per_gpu,floor_per_s\n");
  for (const std::size_t gpus : {128, 1'024, 8'192, 131'072, 1'048'576}) {
    const double floor = floor_rate(gpus, grants * 5);
    for (const auto& load : bench::loads()) {
      bench::Fleet fleet(gpus, load);
      const Line line = measure(fleet, grants);
      std::printf("%zu,%s,%.0f,%.3f,%.3f,%.1f,%.0f\n", gpus, load.name, line.per_second,
                  line.p50_us, line.p99_us, fleet.bytes_per_gpu(), floor);
      std::fflush(stdout);
    }
  }
  return 0;
}
