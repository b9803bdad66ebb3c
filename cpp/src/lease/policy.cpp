#include "lease/policy.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <tuple>
#include <utility>

namespace ionian::policy {
namespace {

using Gpus = std::vector<std::size_t>;

/// Returns how good a link is, as a number that grows with bandwidth: any NVLink beats any PCIe
/// path.
int weight(const Topology& topology, std::size_t a, std::size_t b) {
  const Link link = topology.link(a, b);
  return link == Link::kNvlink ? 100 + topology.nvlinks(a, b) : static_cast<int>(link);
}

/// Worst link first, then all of them together. Larger is better.
using Quality = std::pair<int, int>;

Quality quality(const Topology& topology, const Gpus& gpus) {
  Quality result{std::numeric_limits<int>::max(), 0};
  for (std::size_t i = 0; i < gpus.size(); ++i) {
    for (std::size_t j = i + 1; j < gpus.size(); ++j) {
      const int link = weight(topology, gpus[i], gpus[j]);
      result.first = std::min(result.first, link);
      result.second += link;
    }
  }
  return result;
}

Gpus choose_exactly(const Topology& topology, const Gpus& free, std::size_t count) {
  // Weights once, so that a set costs a few additions.
  const std::size_t n = free.size();
  std::vector<int> weights(n * n);
  int total = 0;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      if (i != j) weights[i * n + j] = weight(topology, free[i], free[j]);
      if (i < j) total += weights[i * n + j];
    }
  }
  std::tuple<int, int, int> best{-1, -1, -1};
  std::uint32_t best_set = 0;
  const std::uint32_t end = 1U << n;
  for (std::uint32_t set = (1U << count) - 1; set < end;) {
    int worst = std::numeric_limits<int>::max();
    int inside = 0;
    int cut = 0;  // links that the choice takes from the rest
    for (std::uint32_t left = set; left != 0; left &= left - 1) {
      const auto i = static_cast<std::size_t>(std::countr_zero(left));
      for (std::size_t j = 0; j < n; ++j) {
        if (i == j) continue;
        const int link = weights[i * n + j];
        if ((set >> j & 1U) == 0) {
          cut += link;
        } else if (i < j) {
          worst = std::min(worst, link);
          inside += link;
        }
      }
    }
    const std::tuple<int, int, int> score{worst, inside, total - inside - cut};
    // Sets come in ascending order of their bits, so an equal one later never has lower indices
    // first unless its bits, read from the lowest, say so.
    const bool lower =
        score == best && std::countr_zero(set ^ best_set) == std::countr_zero(set & ~best_set);
    if (best_set == 0 || score > best || lower) {
      best = score;
      best_set = set;
    }
    const std::uint32_t low = set & (~set + 1);  // the next set with as many bits
    const std::uint32_t ripple = set + low;
    set = ripple | (((set ^ ripple) >> 2) / low);
  }
  Gpus chosen;
  for (std::size_t i = 0; i < n; ++i) {
    if ((best_set >> i & 1U) != 0) chosen.push_back(free[i]);
  }
  return chosen;
}

Gpus choose_greedily(const Topology& topology, const Gpus& free, std::size_t count) {
  Gpus best;
  Quality best_quality{-1, -1};
  for (const std::size_t seed : free) {
    Gpus set{seed};
    while (set.size() < count) {
      std::size_t next = 0;
      Quality next_quality{-1, -1};
      for (const std::size_t gpu : free) {
        if (std::find(set.begin(), set.end(), gpu) != set.end()) continue;
        Quality added{std::numeric_limits<int>::max(), 0};
        for (const std::size_t member : set) {
          const int link = weight(topology, member, gpu);
          added = {std::min(added.first, link), added.second + link};
        }
        if (added > next_quality) std::tie(next, next_quality) = std::pair(gpu, added);
      }
      set.push_back(next);
    }
    const Quality reached = quality(topology, set);
    if (reached > best_quality) std::tie(best, best_quality) = std::pair(set, reached);
    if (count == 1) break;
  }
  std::sort(best.begin(), best.end());
  return best;
}

}  // namespace

bool possible(const Machine& machine, const Alternative& alternative) {
  const auto groups = by_model(machine, alternative, [](std::size_t) { return true; });
  return std::any_of(groups.begin(), groups.end(),
                     [&](const Gpus& gpus) { return gpus.size() >= alternative.count; });
}

std::optional<Gpus> choose(const Machine& machine, const Alternative& alternative,
                           const std::vector<bool>& free) {
  for (const Gpus& gpus :
       by_model(machine, alternative, [&](std::size_t gpu) { return free[gpu]; })) {
    if (gpus.size() < alternative.count) continue;
    if (gpus.size() == alternative.count) return gpus;
    return gpus.size() <= kExactLimit ? choose_exactly(machine.topology, gpus, alternative.count)
                                      : choose_greedily(machine.topology, gpus, alternative.count);
  }
  return std::nullopt;
}

}  // namespace ionian::policy
