#include "lease/simulation.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "lease/id_map.hpp"
#include "support/allocator_scene.hpp"

namespace ionian::simulation {
namespace {

using ::testing::HasSubstr;

class SimulationTest : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(SimulationTest, NoInvariantIsBrokenAndTheAllocatorIsBusy) {
  const Result result = run_episode(GetParam(), 0);
  EXPECT_EQ(result.violation, "");
  EXPECT_EQ(result.events, kEpisode);
  EXPECT_GT(result.grants, 500U);
  EXPECT_GT(result.deaths, 50U);
  EXPECT_GT(result.restarts, 0U);
}

TEST_P(SimulationTest, TheSameSeedGivesTheSameRun) {
  const Result first = run_episode(GetParam(), 7, 2000);
  const Result second = run_episode(GetParam(), 7, 2000);
  EXPECT_EQ(first.grants, second.grants);
  EXPECT_EQ(first.longest_wait, second.longest_wait);
}

INSTANTIATE_TEST_SUITE_P(Seeds, SimulationTest,
                         ::testing::Range(std::uint64_t{1000}, std::uint64_t{1010}));

/// What the ledger says of an effect that the allocator should never have.
TEST(Ledger, AFalseGrantIsNamed) {
  Random random(1);
  Scene scene(random);
  allocator::State state(scene.layout);
  Ledger ledger(scene.machine, scene.hosts);
  const allocator::Event tick = allocator::Tick{};
  EXPECT_THAT(ledger.book(tick, nullptr, {}, {allocator::Grant{9, 0, {0}}}, state),
              HasSubstr("I1: a grant for a request that does not wait"));
  EXPECT_THAT(ledger.book(tick, nullptr, {}, {allocator::Drain{0}}, state),
              HasSubstr("I2: a GPU is drained that nobody gave back"));
}

TEST(Simulation, WhenEverybodyLeavesAllGpusComeBack) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Random random(seed);
    const Scene scene(random);
    allocator::State state(scene.layout);
    for (std::uint64_t request = 1; request <= 50; ++request) {
      step(state, allocator::Request{{request, request % 3, scene.asks[random.below(24)].demand}},
           {});
    }
    EXPECT_GT(state.leases(), 0U);
    for (std::uint64_t client = 0; client < 3; ++client) {
      step(state, allocator::ClientDied{client}, {});
    }
    for (std::size_t gpu = 0; gpu < state.size(); ++gpu) step(state, allocator::Drained{gpu}, {});
    for (std::size_t gpu = 0; gpu < state.size(); ++gpu) EXPECT_EQ(state.gpu(gpu), GpuState::kFree);
    EXPECT_EQ(state.leases(), 0U);
    EXPECT_EQ(state.waiting(), 0U);
  }
}

TEST(IdMap, HoldsWhatAMapHolds) {
  Random random(3);
  allocator::IdMap ours;
  std::map<std::uint64_t, std::uint32_t> theirs;
  for (int i = 0; i < 100'000; ++i) {
    // Few and near keys, so that they collide; some at the far end.
    const std::uint64_t key = random.below(400) - (random.one_in(2) ? 200U : 0U);
    if (random.one_in(2)) {
      const auto value = random.below(1000);
      ours.set(key, value);
      theirs[key] = value;
    } else {
      ours.erase(key);
      theirs.erase(key);
    }
    const auto found = theirs.find(key);
    ASSERT_EQ(ours.find(key), found == theirs.end() ? allocator::kNone : found->second);
    ASSERT_EQ(ours.size(), theirs.size());
  }
  for (const auto& [key, value] : theirs) EXPECT_EQ(ours.find(key), value);
}

}  // namespace
}  // namespace ionian::simulation
