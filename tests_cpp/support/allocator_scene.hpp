// allocator_scene.hpp: random machines of 1 to 16 GPUs and 1 to 3 models, now and then several that
// are alike, and what may be asked of them. The same seed gives the same scene on every computer.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "support/allocator_ledger.hpp"

namespace ionian::simulation {

/// SplitMix64: small, fast, and the same everywhere (distributions of <random> are not).
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t operator()() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
  }
  /// Returns a number from 0 to `end` - 1.
  std::uint32_t below(std::size_t end) {
    return static_cast<std::uint32_t>(((*this)() >> 32) * end >> 32);
  }
  bool one_in(std::size_t n) { return below(n) == 0; }

 private:
  std::uint64_t state_;
};

struct Scene {
  Machine machine;  // each host
  std::size_t hosts = 1;
  std::shared_ptr<const allocator::Layout> layout;
  std::vector<Ask> asks;

  explicit Scene(Random& random) {
    const std::size_t size = 1 + random.below(random.one_in(4) ? 16 : 8);
    const std::size_t models = 1 + random.below(std::min<std::size_t>(3, size));
    machine.topology = Topology(size);
    for (std::size_t gpu = 0; gpu < size; ++gpu) {
      const std::size_t model = gpu < models ? gpu : random.below(models);
      machine.types.push_back(std::string("model-") + "abc"[model]);
      machine.preferences.push_back(static_cast<int>((model + 1) % models));
    }
    // Behind a switch, all alike; else some pairs are linked better than others. The latter makes
    // a choice among more than eight GPUs dear, so big machines have a switch.
    if (size <= 8 && !random.one_in(4)) {
      for (std::size_t a = 0; a < size; ++a) {
        for (std::size_t b = a + 1; b < size; ++b) {
          const auto link = static_cast<Link>(random.below(6));
          machine.topology.set(a, b, link, link == Link::kNvlink ? 1 + static_cast<int>(b % 3) : 0);
        }
      }
    }
    if (random.one_in(4)) hosts += random.below(std::min<std::size_t>(3, 31 / size));
    layout = std::make_shared<const allocator::Layout>(machine, hosts);
    for (int i = 0; i < 24; ++i) asks.emplace_back(machine, *layout, alternatives(random));
  }

 private:
  std::vector<Alternative> alternatives(Random& random) const {
    std::vector<Alternative> result;
    do {
      // A model, several ("any"), or a choice of single GPUs: a UUID, or all but an ancestor's.
      Alternative each{machine.types[random.below(machine.size())], 1 + random.below(4), {}};
      if (random.one_in(8)) each.count = 1 + random.below(machine.size() + 1);
      const std::uint32_t how = random.below(8);
      if (how < 3) each.type = "any";
      for (std::size_t gpu = 0; gpu < layout->size(); ++gpu) {
        if (how >= 3 && machine.types[gpu % machine.size()] != each.type) continue;
        if (how >= 6 && random.one_in(3)) continue;
        each.gpus.push_back(gpu);
      }
      result.push_back(std::move(each));
    } while (result.size() < 3 && random.one_in(2));
    return result;
  }
};

}  // namespace ionian::simulation
