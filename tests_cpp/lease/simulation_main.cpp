// simulation: the allocator under millions of random events.
//
//   simulation [--events N] [--seed S] [--threads T] [--seconds L]   many episodes
//   simulation --seed S --episode E                                  one, with its last events
//   simulation ... --expect-violation                                for a planted fault
//
// Ends with 1 if an invariant is broken (with --expect-violation: if none is).
#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "lease/simulation.hpp"

namespace {

using namespace ionian::simulation;

struct Options {
  std::uint64_t events = 10'000'000;
  std::uint64_t seed = 1;
  std::uint64_t threads = std::max(1U, std::thread::hardware_concurrency());
  std::uint64_t seconds = 0;  // 0: as long as it takes
  std::optional<std::uint64_t> episode;
  bool expect_violation = false;
};

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<Options> parse(const std::vector<std::string_view>& words) {
  Options options;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--expect-violation") {
      options.expect_violation = true;
      continue;
    }
    const auto value = i + 1 < words.size() ? number(words[i + 1]) : std::nullopt;
    if (!value) return std::nullopt;
    if (words[i] == "--events") {
      options.events = *value;
    } else if (words[i] == "--seed") {
      options.seed = *value;
    } else if (words[i] == "--threads") {
      options.threads = std::max<std::uint64_t>(1, *value);
    } else if (words[i] == "--seconds") {
      options.seconds = *value;
    } else if (words[i] == "--episode") {
      options.episode = *value;
    } else {
      return std::nullopt;
    }
    ++i;
  }
  return options;
}

/// Adds up what the threads find; the violation of the lowest episode stands.
class Total {
 public:
  void add(std::uint64_t episode, const Result& result) {
    const std::lock_guard lock(mutex_);
    sum_.events += result.events;
    sum_.grants += result.grants;
    sum_.deaths += result.deaths;
    sum_.restarts += result.restarts;
    sum_.longest_wait = std::max(sum_.longest_wait, result.longest_wait);
    if (result.violation.empty() || (!sum_.violation.empty() && episode > episode_)) return;
    sum_.violation = result.violation;
    episode_ = episode;
  }
  [[nodiscard]] const Result& sum() const { return sum_; }
  [[nodiscard]] std::uint64_t episode() const { return episode_; }

 private:
  std::mutex mutex_;
  Result sum_;
  std::uint64_t episode_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  const auto options = parse({argv + 1, argv + argc});
  if (!options) {
    std::fprintf(stderr,
                 "usage: simulation [--events N] [--seed S] [--threads T] [--seconds L] "
                 "[--episode E] [--expect-violation]\n");
    return 2;
  }
  if (options->episode) {
    const Result result = run_episode(options->seed, *options->episode, kEpisode, true);
    std::printf("%llu events, %llu grants\n%s\n", static_cast<unsigned long long>(result.events),
                static_cast<unsigned long long>(result.grants),
                result.violation.empty() ? "no violation" : result.violation.c_str());
    return result.violation.empty() == options->expect_violation ? 1 : 0;
  }
  const auto began = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  };
  const std::uint64_t episodes = (options->events + kEpisode - 1) / kEpisode;
  std::atomic<std::uint64_t> next{0};
  std::atomic<bool> stop{false};
  Total total;
  const auto work = [&] {
    while (!stop) {
      const std::uint64_t episode = next++;
      if (episode >= episodes) return;
      const auto left = options->events - episode * kEpisode;
      const Result result = run_episode(options->seed, episode, std::min(left, kEpisode));
      total.add(episode, result);
      if (!result.violation.empty()) stop = true;
      if (options->seconds > 0 && seconds() > static_cast<double>(options->seconds)) stop = true;
    }
  };
  std::vector<std::thread> threads;
  for (std::uint64_t i = 1; i < options->threads; ++i) threads.emplace_back(work);
  work();
  for (auto& thread : threads) thread.join();
  const Result& sum = total.sum();
  std::printf(
      "simulation: seed %llu: %llu events in %.1f s (%.2f million/s on %llu threads), %llu grants, "
      "%llu clients died, %llu restarts, longest wait %llu events\n",
      static_cast<unsigned long long>(options->seed), static_cast<unsigned long long>(sum.events),
      seconds(), static_cast<double>(sum.events) / seconds() / 1e6,
      static_cast<unsigned long long>(options->threads),
      static_cast<unsigned long long>(sum.grants), static_cast<unsigned long long>(sum.deaths),
      static_cast<unsigned long long>(sum.restarts),
      static_cast<unsigned long long>(sum.longest_wait));
  if (sum.violation.empty()) {
    std::printf("no violation\n");
    return options->expect_violation ? 1 : 0;
  }
  std::printf("VIOLATION in episode %llu, %s\nagain: simulation --seed %llu --episode %llu\n",
              static_cast<unsigned long long>(total.episode()), sum.violation.c_str(),
              static_cast<unsigned long long>(options->seed),
              static_cast<unsigned long long>(total.episode()));
  return options->expect_violation ? 0 : 1;
}
