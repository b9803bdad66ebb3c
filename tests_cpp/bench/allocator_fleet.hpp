// allocator_fleet.hpp: many hosts of eight GPUs, and requests that never end: the load of the
// allocator's benchmarks. Grants are decisions, not launches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lease/allocator.hpp"
#include "support/allocator_scene.hpp"
#include "support/machines.hpp"

namespace ionian::bench {

/// What is asked, mixed evenly.
struct Load {
  const char* name;
  std::vector<std::vector<std::string>> requests;
};
inline std::vector<Load> loads() {
  return {
      {"single GPUs", {{"H100"}, {"A10G"}, {"V100"}, {"any"}}},
      {"gangs", {{"H100:8"}, {"H100:2"}, {"A10G:4"}, {"V100:4"}, {"V100:2"}, {"any:8"}}},
      {"fallbacks",
       {{"B200", "H100"}, {"H100", "V100", "A10G"}, {"V100", "A10G"}, {"A10G", "any"}}},
      {"all of them",
       {{"H100"},
        {"A10G"},
        {"H100:8"},
        {"V100:4", "A10G:4"},
        {"A10G:2", "any:2"},  //
        {"V100"},
        {"B200:8", "H100:4"},
        {"any"},
        {"H100", "V100", "A10G"},
        {"A10G:8"}}},
  };
}

/// Hosts by thirds: DGX H100, PCIe machines of A10G, DGX-1 with V100 in its cube mesh. So many
/// requests always wait that no GPU is free but for those that a gang ahead is waiting for.
class Fleet {
 public:
  static constexpr std::size_t kWaiting = 64;

  Fleet(std::size_t gpus, const Load& load) : layout_(make_layout(gpus)), state_(layout_) {
    for (const auto& request : load.requests) demands_.push_back(demand(request));
    while (state_.waiting() < kWaiting) ask();
  }

  /// Gives back one lease at random, which lets others be granted, and asks until as many wait as
  /// before. `timed(event)` calls `step(event)` and returns how many grants that brought.
  template <class Timed>
  void turn(Timed timed) {
    std::swap(live_[random_.below(live_.size())], live_.back());
    const std::uint64_t request = live_.back();
    live_.pop_back();
    timed(allocator::Event(allocator::Release{request}));
    drained_.clear();
    for (const auto& effect : effects_) {
      if (const auto* drain = std::get_if<allocator::Drain>(&effect))
        drained_.push_back(drain->gpu);
    }
    for (const std::size_t gpu : drained_) timed(allocator::Event(allocator::Drained{gpu}));
    while (state_.waiting() < kWaiting) timed(next());
  }

  /// Returns how many requests the event has granted.
  std::size_t step(const allocator::Event& event) {
    effects_.clear();
    allocator::step(state_, event, now_, effects_);
    std::size_t grants = 0;
    for (const auto& effect : effects_) {
      const auto* grant = std::get_if<allocator::Grant>(&effect);
      if (grant == nullptr) continue;
      live_.push_back(grant->request);
      ++grants;
    }
    return grants;
  }

  [[nodiscard]] std::size_t size() const { return state_.size(); }
  [[nodiscard]] double bytes_per_gpu() const {
    return static_cast<double>(state_.bytes() + layout_->bytes()) /
           static_cast<double>(state_.size());
  }

 private:
  static std::vector<Inventory> hosts() {
    return {machines::dgx_h100(), machines::pcie_8x(), machines::dgx_v100()};
  }
  static std::shared_ptr<const allocator::Layout> make_layout(std::size_t gpus) {
    const std::size_t count = gpus / 8;
    std::shared_ptr<allocator::Layout> layout;
    std::size_t done = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      const std::size_t end = count * (i + 1) / 3;
      const Machine machine(hosts()[i]);
      if (layout) {
        layout->add(machine, end - done);
      } else {
        layout = std::make_shared<allocator::Layout>(machine, end - done);
      }
      done = end;
    }
    return layout;
  }
  /// Every GPU of the fleet that may serve each alternative.
  [[nodiscard]] std::shared_ptr<const allocator::Demand> demand(
      const std::vector<std::string>& texts) const {
    const auto request = GpuRequest::parse(texts);
    std::vector<Alternative> alternatives;
    for (const auto& item : request.alternatives()) {
      Alternative each{item.type, static_cast<std::size_t>(item.count), {}};
      for (std::size_t i = 0, first = 0; i < 3; ++i) {
        const auto host = hosts()[i];
        const std::size_t end = std::size_t{8} * (layout_->size() / 8 * (i + 1) / 3);
        const bool serves = item.accepts(host.devices.front(), GpuMatch::kUpgrade);
        for (; first < end; ++first) {
          if (serves) each.gpus.push_back(first);
        }
      }
      alternatives.push_back(std::move(each));
    }
    return allocator::demand(*layout_, alternatives);
  }
  allocator::Event next() {
    ++request_;
    return allocator::Request{
        {request_, request_ % 1024, demands_[random_.below(demands_.size())]}};
  }
  void ask() { step(next()); }

  std::shared_ptr<const allocator::Layout> layout_;
  allocator::State state_;
  std::vector<std::shared_ptr<const allocator::Demand>> demands_;
  std::vector<std::uint64_t> live_;
  std::vector<std::size_t> drained_;
  std::vector<allocator::Effect> effects_;
  simulation::Random random_{1};
  allocator::TimePoint now_{};
  std::uint64_t request_ = 0;
};

}  // namespace ionian::bench
