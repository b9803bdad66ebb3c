#include "lease/demand.hpp"

#include <algorithm>
#include <map>
#include <string_view>
#include <tuple>

namespace ionian::allocator {
namespace {

using Gpus = std::vector<std::uint32_t>;

/// Returns the GPUs of `alternative` by kind: those in groups that have enough of them.
std::map<std::uint32_t, Gpus> by_kind(const Layout& layout, const Alternative& alternative) {
  std::map<std::uint32_t, Gpus> in_group;
  for (const std::size_t gpu : alternative.gpus) {
    if (gpu >= layout.size()) continue;
    in_group[layout.group_of(gpu)].push_back(static_cast<std::uint32_t>(gpu));
  }
  std::map<std::uint32_t, Gpus> result;
  for (const auto& [group, gpus] : in_group) {
    if (gpus.size() < alternative.count) continue;
    Gpus& all = result[layout.groups()[group].kind];
    all.insert(all.end(), gpus.begin(), gpus.end());
  }
  return result;
}

Share add(const Layout& layout, Demand& demand, std::uint32_t kind, const Gpus& gpus) {
  const Kind& of = layout.kinds()[kind];
  if (gpus.size() == of.size() * of.groups) return {kind, 0, 0};
  const auto begin = static_cast<std::uint32_t>(demand.gpus.size());
  demand.gpus.insert(demand.gpus.end(), gpus.begin(), gpus.end());
  return {kind, begin, static_cast<std::uint32_t>(demand.gpus.size())};
}

}  // namespace

std::shared_ptr<const Demand> demand(const Layout& layout,
                                     const std::vector<Alternative>& alternatives) {
  auto result = std::make_shared<Demand>();
  std::map<std::uint32_t, Gpus> claimed;
  for (std::uint32_t i = 0; i < alternatives.size(); ++i) {
    const Alternative& alternative = alternatives[i];
    if (alternative.count == 0) continue;
    const std::size_t first = result->tries.size();
    for (const auto& [kind, gpus] : by_kind(layout, alternative)) {
      const auto count = static_cast<std::uint32_t>(alternative.count);
      result->tries.push_back({add(layout, *result, kind, gpus), i, count});
      Gpus& claim = claimed[kind];
      claim.insert(claim.end(), gpus.begin(), gpus.end());
    }
    // The model that was asked for, then the cheapest to give away.
    const auto rank = [&](const Try& each) {
      const Kind& kind = layout.kinds()[each.kind];
      return std::tuple(kind.type != alternative.type, kind.preference, std::string_view(kind.type),
                        kind.size(), each.kind);
    };
    std::sort(result->tries.begin() + static_cast<std::ptrdiff_t>(first), result->tries.end(),
              [&](const Try& a, const Try& b) { return rank(a) < rank(b); });
  }
  for (auto& [kind, gpus] : claimed) {
    std::sort(gpus.begin(), gpus.end());
    gpus.erase(std::unique(gpus.begin(), gpus.end()), gpus.end());
    result->claims.push_back(add(layout, *result, kind, gpus));
  }
  return result;
}

}  // namespace ionian::allocator
