// The allocator under random events: the invariants hold after every one of them.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "lease/allocator.hpp"
#include "lease/policy.hpp"
#include "support/machines.hpp"

namespace ionian::allocator {
namespace {

class Simulation {
 public:
  Simulation(Inventory inventory, std::uint32_t seed)
      : inventory_(std::move(inventory)), state_(Machine(inventory_)), random_(seed) {}

  void run(int events) {
    for (int i = 0; i < events && !::testing::Test::HasFailure(); ++i) {
      now_ += std::chrono::milliseconds(pick(500));
      for (const auto& effect : step(state_, next_event(), now_)) on_effect(effect);
      check();
    }
  }
  /// Everybody leaves: every GPU must be free in the end.
  void finish() {
    for (std::uint64_t client = 0; client < kClients; ++client)
      step(state_, ClientDied{client}, now_);
    for (std::size_t gpu = 0; gpu < state_.gpus.size(); ++gpu) {
      for (const Event& event :
           std::vector<Event>{Drained{gpu}, StrangerLeft{gpu}, GpuRecovered{gpu}}) {
        step(state_, event, now_);
      }
      EXPECT_EQ(state_.gpus[gpu].state, GpuState::kFree);
    }
    EXPECT_TRUE(state_.queue.empty());
    EXPECT_TRUE(state_.leases.empty());
  }
  [[nodiscard]] std::size_t grants() const { return grants_; }

 private:
  static constexpr std::uint64_t kClients = 5;

  std::size_t pick(std::size_t below) {
    return std::uniform_int_distribution<std::size_t>(0, below - 1)(random_);
  }

  Event next_event() {
    const std::size_t gpu = pick(state_.gpus.size());
    switch (pick(12)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return new_request();
      case 4:
        return Cancel{1 + pick(next_)};
      case 5:
        return pick(8) == 0 ? Event(ClientDied{pick(kClients)}) : Event(Tick{});
      case 6:
      case 7: {
        if (state_.leases.empty()) return Tick{};
        auto lease = state_.leases.begin();
        std::advance(lease, static_cast<long>(pick(state_.leases.size())));
        return Release{lease->first};
      }
      case 8:
        return pick(2) == 0 ? Event(StrangerCame{gpu}) : Event(StrangerLeft{gpu});
      case 9:
        return pick(8) == 0 ? Event(GpuLost{gpu}) : Event(GpuRecovered{gpu});
      default:
        return Drained{gpu};
    }
  }

  Request new_request() {
    std::vector<std::string> types;
    for (const auto& device : inventory_.devices) types.push_back(device.type);
    types.push_back("any");
    types.push_back("40GB");
    Waiting waiting{next_++, pick(kClients), {}};
    for (std::size_t i = 0; i <= pick(3); ++i) {
      const auto text = types[pick(types.size())] + ":" + std::to_string(1 + pick(4));
      const auto request = GpuRequest::parse(text);
      waiting.alternatives.push_back(
          bind(request.alternatives().front(), inventory_, GpuMatch::kUpgrade));
    }
    asked_[waiting.request] = waiting;
    return {waiting};
  }

  void on_effect(const Effect& effect) {
    const auto* grant = std::get_if<Grant>(&effect);
    if (grant == nullptr) return;
    ++grants_;
    const Alternative& asked = asked_.at(grant->request).alternatives.at(grant->alternative);
    ASSERT_EQ(grant->gpus.size(), asked.count) << "I3: all or nothing";
    std::set<std::string> models;
    for (const std::size_t gpu : grant->gpus) {
      models.insert(state_.machine.types[gpu]);
      ASSERT_TRUE(std::count(asked.gpus.begin(), asked.gpus.end(), gpu))
          << "a GPU that was not asked for";
    }
    ASSERT_EQ(models.size(), 1U) << "I3: one model";
  }

  void check() {
    std::map<std::size_t, std::uint64_t> holder;
    for (const auto& [request, lease] : state_.leases) {
      for (const std::size_t gpu : lease.gpus) {
        ASSERT_TRUE(holder.emplace(gpu, request).second) << "I1: GPU " << gpu << " is leased twice";
      }
    }
    for (std::size_t i = 0; i < state_.gpus.size(); ++i) {
      const Gpu& gpu = state_.gpus[i];
      const bool held = holder.contains(i);
      ASSERT_EQ(gpu.state == GpuState::kLeased, held)
          << "I2: a GPU is leased if and only if somebody holds it";
      if (held) {
        ASSERT_EQ(gpu.lease, holder[i]);
      }
    }
    // I4, I5, I6: a waiter's claim keeps only younger ones off, and nobody waits for what is free.
    std::vector<bool> free(state_.gpus.size());
    for (std::size_t i = 0; i < free.size(); ++i) free[i] = state_.gpus[i].state == GpuState::kFree;
    std::uint64_t before = 0;
    for (const auto& waiting : state_.queue) {
      ASSERT_LT(before, waiting.request) << "the queue is in order of arrival";
      before = waiting.request;
      for (const auto& alternative : waiting.alternatives) {
        ASSERT_FALSE(policy::choose(state_.machine, alternative, free))
            << "I4: request " << waiting.request << " waits for GPUs that are free";
      }
      for (const auto& alternative : waiting.alternatives) {
        if (!policy::possible(state_.machine, alternative)) continue;
        for (const std::size_t gpu : alternative.gpus) free[gpu] = false;
      }
    }
  }

  Inventory inventory_;
  State state_;
  std::mt19937 random_;
  TimePoint now_{};
  std::uint64_t next_ = 1;
  std::map<std::uint64_t, Waiting> asked_;
  std::size_t grants_ = 0;
};

class AllocatorProperty : public ::testing::TestWithParam<std::uint32_t> {};

TEST_P(AllocatorProperty, InvariantsHoldAfterEveryEvent_AndAllGpusComeBack) {
  for (const auto& inventory :
       {machines::one_a10g(), machines::two_and_two(), machines::pcie_4x(), machines::mixed(),
        machines::h100_and_h200(), machines::dgx_v100()}) {
    Simulation simulation(inventory, GetParam());
    simulation.run(2000);
    simulation.finish();
    EXPECT_GT(simulation.grants(), 20U) << "the simulation hardly did anything";
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, AllocatorProperty, ::testing::Range(0U, 10U));

}  // namespace
}  // namespace ionian::allocator
