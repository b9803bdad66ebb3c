#include "lease/allocator.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/machines.hpp"

namespace ionian::allocator {
namespace {

using Gpus = std::vector<std::size_t>;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// A machine, its state and a clock that the test moves.
class AllocatorTest : public ::testing::Test {
 protected:
  void machine(const Inventory& inventory_, std::size_t hosts = 1) {
    inventory = inventory_;
    state.emplace(std::make_shared<const Layout>(Machine(inventory), hosts));
  }
  std::vector<Effect> say(const Event& event) { return step(*state, event, now); }
  std::vector<Effect> request(std::uint64_t id, const std::vector<std::string>& texts,
                              std::uint64_t client = 1) {
    const auto parsed = GpuRequest::parse(texts);
    std::vector<Alternative> alternatives;
    const std::size_t size = inventory.devices.size();
    for (const auto& item : parsed.alternatives()) {
      alternatives.push_back(bind(item, inventory, GpuMatch::kUpgrade));
      Gpus& gpus = alternatives.back().gpus;  // the same ones of every host
      const std::size_t here = gpus.size();
      for (std::size_t i = here; i < here * (state->size() / size); ++i) {
        gpus.push_back(gpus[i - here] + size);
      }
    }
    return say(Request{{id, client, demand(state->layout(), alternatives)}});
  }
  /// Gives back and drains at once; returns what else follows.
  std::vector<Effect> give_back(std::uint64_t id) {
    const Gpus gpus = state->gpus_of(id);
    std::vector<Effect> all;
    EXPECT_EQ(say(Release{id}).size(), gpus.size());
    for (const std::size_t gpu : gpus) {
      for (auto& effect : say(Drained{gpu})) all.push_back(std::move(effect));
    }
    return all;
  }

  Inventory inventory;
  std::optional<State> state;
  TimePoint now{};
};

TEST_F(AllocatorTest, ARequestThatFitsIsGrantedAtOnce) {
  machine(machines::pcie_4x());
  EXPECT_THAT(request(1, {"L40S:2"}), ElementsAre(Grant{1, 0, {0, 1}}));
  EXPECT_THAT(request(2, {"any"}), ElementsAre(Grant{2, 0, {2}}));
}

TEST_F(AllocatorTest, ARequestThatCanNeverFitIsRejected) {
  machine(machines::two_and_two());
  EXPECT_THAT(request(1, {"any:3"}), ElementsAre(Reject{1}));
  EXPECT_THAT(request(2, {"H100"}), ElementsAre(Reject{2}));
  EXPECT_THAT(request(3, {"H100", "any"}), ElementsAre(Grant{3, 1, {2}}));
}

TEST_F(AllocatorTest, TheFirstAlternativeThatFitsNowIsGranted) {
  machine(machines::mixed());
  EXPECT_THAT(request(1, {"H100:2", "A10G"}), ElementsAre(Grant{1, 0, {4, 5}}));
  EXPECT_THAT(request(2, {"H100:2", "A10G"}), ElementsAre(Grant{2, 1, {1}}));
}

TEST_F(AllocatorTest, WaitersAreServedInTheirOrder) {
  machine(machines::one_a10g());
  EXPECT_THAT(request(1, {"any"}), ElementsAre(Grant{1, 0, {0}}));
  EXPECT_THAT(request(2, {"any"}), IsEmpty());
  EXPECT_THAT(request(3, {"A10G"}), IsEmpty());
  EXPECT_THAT(give_back(1), ElementsAre(Grant{2, 0, {0}}));
  EXPECT_THAT(give_back(2), ElementsAre(Grant{3, 0, {0}}));
}

TEST_F(AllocatorTest, AGangIsNotPassedBySmallRequests) {
  machine(machines::pcie_4x());
  request(1, {"L40S"});
  EXPECT_THAT(request(2, {"L40S:4"}), IsEmpty());
  EXPECT_THAT(request(3, {"L40S"}), IsEmpty())
      << "three are free, but an older request needs them all";
  EXPECT_THAT(give_back(1), ElementsAre(Grant{2, 0, {0, 1, 2, 3}}));
  EXPECT_THAT(give_back(2), ElementsAre(Grant{3, 0, {0}}));
}

TEST_F(AllocatorTest, AYoungerRequestPassesOnModelsThatNoOlderOneCanUse) {
  machine(machines::two_and_two());
  request(1, {"A10G"});
  EXPECT_THAT(request(2, {"A10G:2"}), IsEmpty());
  EXPECT_THAT(request(3, {"L4"}), ElementsAre(Grant{3, 0, {2}}));
  EXPECT_THAT(request(4, {"any"}), ElementsAre(Grant{4, 0, {3}}));
}

TEST_F(AllocatorTest, AnAlternativeThatCanNeverFitReservesNothing) {
  machine(machines::two_and_two());
  request(1, {"A10G:2"});
  EXPECT_THAT(request(2, {"L4:3", "A10G:2"}), IsEmpty());
  EXPECT_THAT(request(3, {"L4"}), ElementsAre(Grant{3, 0, {2}}));
}

TEST_F(AllocatorTest, AModelOfWhichThereAreTooFewIsNotReserved) {
  machine(machines::mixed());
  request(1, {"H100:2"});
  EXPECT_THAT(request(2, {"any:2"}), ElementsAre(Grant{2, 0, {1, 2}}));
  EXPECT_THAT(request(3, {"any:2"}), IsEmpty());
  EXPECT_THAT(request(4, {"T4"}), ElementsAre(Grant{4, 0, {0}})) << "one T4 is never two GPUs";
}

TEST_F(AllocatorTest, AClaimOnSingleGpusLeavesTheRestOfTheModel) {
  machine(machines::workstation_2x4090());
  const std::string first = inventory.devices[0].uuid;
  request(1, {first});
  EXPECT_THAT(request(2, {first}), IsEmpty());
  EXPECT_THAT(request(3, {"RTX4090"}), ElementsAre(Grant{3, 0, {1}}));
  EXPECT_THAT(request(4, {"RTX4090"}), IsEmpty());
  EXPECT_THAT(give_back(1), ElementsAre(Grant{2, 0, {0}})) << "older than 4";
}

TEST_F(AllocatorTest, ARequestThatComesTwiceIsGrantedOnce) {
  machine(machines::workstation_2x4090());
  request(1, {"RTX4090"});
  EXPECT_THAT(request(1, {"RTX4090"}), IsEmpty());
  EXPECT_THAT(request(2, {"RTX4090:2"}), IsEmpty());
  EXPECT_THAT(request(2, {"RTX4090:2"}), IsEmpty());
  EXPECT_THAT(state->queue(), ElementsAre(2));
  EXPECT_EQ(state->leases(), 1U);
}

TEST_F(AllocatorTest, ACopyAnswersWhatIf_AndTheOriginalStays) {
  machine(machines::one_a10g());
  request(1, {"any"});
  request(2, {"any"});
  State copy = *state;
  step(copy, Release{1}, now);
  EXPECT_THAT(step(copy, Drained{0}, now), ElementsAre(Grant{2, 0, {0}}));
  EXPECT_EQ(state->holder(0), 1U);
  EXPECT_THAT(state->queue(), ElementsAre(2));
}

TEST_F(AllocatorTest, EqualHostsHaveTheKindsOfOne) {
  machine(machines::mixed(), 1000);
  EXPECT_EQ(state->size(), 6000U);
  EXPECT_EQ(state->layout().kinds().size(), 4U);
  EXPECT_EQ(state->layout().kind_of(5999).type, "H100");
}

TEST_F(AllocatorTest, AGangIsOnOneHost) {
  machine(machines::pcie_4x(), 2);
  EXPECT_THAT(request(1, {"L40S:5"}), ElementsAre(Reject{1}));
  EXPECT_THAT(request(2, {"L40S:3"}), ElementsAre(Grant{2, 0, {0, 1, 2}}));
  EXPECT_THAT(request(3, {"L40S:3"}), ElementsAre(Grant{3, 0, {4, 5, 6}}));
  EXPECT_THAT(request(4, {"L40S:2"}), IsEmpty()) << "two are free, but not together";
}

TEST_F(AllocatorTest, SmallRequestsFillHostsThatAreInUse_SoThatGangsFindWholeOnes) {
  machine(machines::pcie_4x(), 2);
  EXPECT_THAT(request(1, {"L40S"}), ElementsAre(Grant{1, 0, {0}}));
  EXPECT_THAT(request(2, {"L40S"}), ElementsAre(Grant{2, 0, {1}}));
  EXPECT_THAT(request(3, {"L40S"}), ElementsAre(Grant{3, 0, {2}}));
  EXPECT_THAT(request(4, {"L40S:4"}), ElementsAre(Grant{4, 0, {4, 5, 6, 7}}));
}

TEST_F(AllocatorTest, AGpuIsFreeOnlyAfterItHasDrained) {
  machine(machines::one_a10g());
  request(1, {"any"});
  EXPECT_THAT(say(Release{1}), ElementsAre(Drain{0}));
  EXPECT_THAT(request(2, {"any"}), IsEmpty());
  EXPECT_THAT(say(Drained{0}), ElementsAre(Grant{2, 0, {0}}));
}

TEST_F(AllocatorTest, AGpuThatDoesNotDrainIsQuarantined_UntilItRecovers) {
  machine(machines::one_a10g());
  request(1, {"any"});
  say(Release{1});
  request(2, {"any"});
  now += kDrainLimit - std::chrono::milliseconds(1);
  EXPECT_THAT(say(Tick{}), IsEmpty());
  now += std::chrono::milliseconds(1);
  EXPECT_THAT(say(Tick{}), ElementsAre(Quarantine{0}));
  EXPECT_THAT(say(Drained{0}), IsEmpty()) << "too late: only a probe brings it back";
  EXPECT_THAT(say(GpuRecovered{0}), ElementsAre(Grant{2, 0, {0}}));
}

TEST_F(AllocatorTest, AGpuLostWhileLeasedIsQuarantinedWhenItIsGivenBack) {
  machine(machines::workstation_2x4090());
  request(1, {"RTX4090:2"});
  EXPECT_THAT(say(GpuLost{1}), IsEmpty());
  EXPECT_THAT(say(Release{1}), ElementsAre(Drain{0}, Quarantine{1}));
}

TEST_F(AllocatorTest, AStrangersGpuIsNotGranted) {
  machine(machines::workstation_2x4090());
  say(StrangerCame{0});
  EXPECT_THAT(request(1, {"RTX4090"}), ElementsAre(Grant{1, 0, {1}}));
  EXPECT_THAT(request(2, {"RTX4090"}), IsEmpty());
  EXPECT_THAT(say(StrangerLeft{0}), ElementsAre(Grant{2, 0, {0}}));
}

TEST_F(AllocatorTest, ADeadClientLosesItsLeasesAndItsPlaces) {
  machine(machines::workstation_2x4090());
  request(1, {"RTX4090"}, 7);
  request(2, {"RTX4090"}, 7);
  EXPECT_THAT(request(3, {"RTX4090:2"}, 7), IsEmpty());
  EXPECT_THAT(request(4, {"RTX4090"}, 8), IsEmpty());
  EXPECT_THAT(say(ClientDied{7}), ElementsAre(Drain{0}, Drain{1}));
  EXPECT_THAT(state->queue(), ElementsAre(4));
  EXPECT_THAT(say(Drained{1}), ElementsAre(Grant{4, 0, {1}}));
}

TEST_F(AllocatorTest, CancellingAWaiterLetsTheNextOneThrough) {
  machine(machines::pcie_4x());
  request(1, {"L40S"});
  request(2, {"L40S:4"});
  request(3, {"L40S:3"});
  EXPECT_THAT(say(Cancel{2}), ElementsAre(Grant{3, 0, {1, 2, 3}}));
}

TEST_F(AllocatorTest, EventsThatDoNotApplyChangeNothing) {
  machine(machines::one_a10g());
  request(1, {"any"});
  for (const Event& event : std::vector<Event>{Release{9}, Cancel{9}, ClientDied{9}, Drained{0},
                                               StrangerCame{0}, StrangerLeft{0}, Tick{}}) {
    EXPECT_THAT(say(event), IsEmpty());
    EXPECT_EQ(state->gpu(0), GpuState::kLeased);
  }
  EXPECT_THAT(request(1, {"any"}), IsEmpty()) << "a request that comes twice";
  EXPECT_EQ(state->leases() + state->waiting(), 1U);
  say(Release{1});
  EXPECT_THAT(say(Release{1}), IsEmpty()) << "a release that comes twice";
}

TEST_F(AllocatorTest, ARequestForNoGpuOrForGpusThatAreNotThereIsRejected) {
  machine(machines::one_a10g());
  for (const Alternative& alternative :
       {Alternative{"A10G", 0, {0}}, Alternative{"A10G", 1, {}}, Alternative{"A10G", 1, {1, 99}}}) {
    EXPECT_THAT(say(Request{{1, 1, demand(state->layout(), {alternative})}}),
                ElementsAre(Reject{1}));
  }
  EXPECT_THAT(say(Request{{1, 1, nullptr}}), ElementsAre(Reject{1}));
  EXPECT_THAT(say(Request{{1, 1, demand(state->layout(), {{"A10G", 1, {99, 0}}})}}),
              ElementsAre(Grant{1, 0, {0}}))
      << "a GPU that is not there does not spoil one that is";
}

TEST_F(AllocatorTest, OnlyWhatIsLeasedHasAHolder) {
  machine(machines::workstation_2x4090());
  request(7, {"RTX4090"});
  EXPECT_EQ(state->holder(0), 7U);
  EXPECT_EQ(state->holder(1), 0U);
  EXPECT_THAT(state->gpus_of(7), ElementsAre(0));
  EXPECT_THAT(state->gpus_of(8), IsEmpty());
  say(Release{7});
  EXPECT_EQ(state->holder(0), 0U) << "it drains";
  EXPECT_EQ(state->drains_until(0), now + kDrainLimit);
}

TEST_F(AllocatorTest, ItsMemoryGrowsWithTheMachine) {
  machine(machines::one_a10g());
  const std::size_t one = state->bytes();
  machine(machines::dgx_h100());
  EXPECT_GT(state->bytes(), one);
}

}  // namespace
}  // namespace ionian::allocator
