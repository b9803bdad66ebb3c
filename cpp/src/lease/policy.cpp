#include "lease/policy.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <tuple>
#include <utility>

namespace ionian::policy {
namespace {

/// Returns how good a link is, as a number that grows with bandwidth: any NVLink beats any PCIe
/// path.
int weight_of(const Topology& topology, std::size_t a, std::size_t b) {
  const Link link = topology.link(a, b);
  return link == Link::kNvlink ? 100 + topology.nvlinks(a, b) : static_cast<int>(link);
}

/// Worst link first, then all of them together. Larger is better.
using Quality = std::pair<int, int>;

}  // namespace

Shape::Shape(const Topology& topology, const std::vector<std::size_t>& gpus)
    : size_(gpus.size()), weights_(size_ * size_) {
  for (std::size_t i = 0; i < size_; ++i) {
    for (std::size_t j = 0; j < size_; ++j) {
      if (i == j) continue;
      weights_[i * size_ + j] = weight_of(topology, gpus[i], gpus[j]);
      alike_ = alike_ && weight(i, j) == weight(0, 1);
    }
  }
}

void Shape::choose(Positions& free, std::size_t count) const {
  if (free.size() == count) return;
  if (alike_ || count == 0) {
    free.resize(count);
  } else if (table_) {
    std::uint32_t set = 0;
    for (const std::uint32_t position : free) set |= 1U << position;
    free.clear();
    for (std::uint32_t left = (*table_)[count][set]; left != 0; left &= left - 1) {
      free.push_back(static_cast<std::uint32_t>(std::countr_zero(left)));
    }
  } else if (free.size() <= kExactLimit) {
    choose_exactly(free, count);
  } else {
    choose_greedily(free, count);
  }
}

void Shape::remember() {
  if (size_ > kTableLimit || alike_) return;
  auto table = std::make_shared<Table>();
  Positions free;
  for (std::uint32_t set = 0; set < 1U << size_; ++set) {
    for (std::size_t count = 0; count <= static_cast<std::size_t>(std::popcount(set)); ++count) {
      free.clear();
      for (std::uint32_t left = set; left != 0; left &= left - 1) {
        free.push_back(static_cast<std::uint32_t>(std::countr_zero(left)));
      }
      choose(free, count);
      for (const std::uint32_t position : free) {
        (*table)[count][set] |= static_cast<std::uint8_t>(1U << position);
      }
    }
  }
  table_ = std::move(table);
}

void Shape::choose_exactly(Positions& free, std::size_t count) const {
  // Weights side by side, so that a set costs a few additions.
  const std::size_t n = free.size();
  std::array<int, kExactLimit * kExactLimit> weights{};
  int total = 0;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      weights[i * n + j] = weight(free[i], free[j]);
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
  std::size_t kept = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if ((best_set >> i & 1U) != 0) free[kept++] = free[i];
  }
  free.resize(kept);
}

void Shape::choose_greedily(Positions& free, std::size_t count) const {
  Positions best;
  Quality best_quality{-1, -1};
  for (const std::uint32_t seed : free) {
    Positions set{seed};
    Quality reached{std::numeric_limits<int>::max(), 0};
    while (set.size() < count) {
      std::uint32_t next = 0;
      Quality next_quality{-1, -1};
      for (const std::uint32_t gpu : free) {
        if (std::find(set.begin(), set.end(), gpu) != set.end()) continue;
        Quality added{std::numeric_limits<int>::max(), 0};
        for (const std::uint32_t member : set) {
          const int link = weight(member, gpu);
          added = {std::min(added.first, link), added.second + link};
        }
        if (added > next_quality) std::tie(next, next_quality) = std::pair(gpu, added);
      }
      set.push_back(next);
      reached = {std::min(reached.first, next_quality.first), reached.second + next_quality.second};
    }
    if (reached > best_quality) std::tie(best, best_quality) = std::pair(set, reached);
    if (count == 1) break;
  }
  std::sort(best.begin(), best.end());
  free = std::move(best);
}

bool possible(const Machine& machine, const Alternative& alternative) {
  const auto groups = by_model(machine, alternative, [](std::size_t) { return true; });
  return std::any_of(groups.begin(), groups.end(),
                     [&](const auto& gpus) { return gpus.size() >= alternative.count; });
}

std::optional<std::vector<std::size_t>> choose(const Machine& machine,
                                               const Alternative& alternative,
                                               const std::vector<bool>& free) {
  for (const auto& gpus :
       by_model(machine, alternative, [&](std::size_t gpu) { return free[gpu]; })) {
    if (gpus.size() < alternative.count) continue;
    Shape::Positions positions(gpus.size());
    for (std::size_t i = 0; i < gpus.size(); ++i) positions[i] = static_cast<std::uint32_t>(i);
    Shape(machine.topology, gpus).choose(positions, alternative.count);
    std::vector<std::size_t> chosen;
    for (const std::uint32_t position : positions) chosen.push_back(gpus[position]);
    return chosen;
  }
  return std::nullopt;
}

}  // namespace ionian::policy
