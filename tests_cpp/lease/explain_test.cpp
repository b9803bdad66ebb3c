#include "lease/explain.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/machines.hpp"

namespace ionian {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Kept = LeaseObstacles::Kept;

/// A machine and who holds what there; `ask` is the request that is explained.
class ExplainTest : public ::testing::Test {
 protected:
  explicit ExplainTest() { use(machines::pcie_4x()); }
  void use(const Inventory& inventory_) {
    inventory = inventory_;
    gpus.clear();
    for (const auto& device : inventory.devices) {
      LeaseStatus status;
      status.uuid = device.uuid;
      status.type = device.type;
      gpus.push_back(status);
    }
  }
  void lease(std::size_t gpu, const std::string& user, const std::string& function) {
    gpus[gpu].state = LeaseStatus::State::kLeased;
    gpus[gpu].owner = LeaseOwner{100, 1000, user, "app", function, "run", 0, {}};
  }
  [[nodiscard]] QueuedRequest waiting(std::uint64_t number,
                                      const std::vector<std::string>& texts) const {
    QueuedRequest result{number, {}};
    const auto request = GpuRequest::parse(texts);
    for (const auto& item : request.alternatives())
      result.alternatives.push_back(bind(item, inventory, GpuMatch::kUpgrade));
    return result;
  }
  void ahead(const std::string& user, const std::string& item) {
    const std::uint64_t number = queue.size() + 1;
    queue.push_back(waiting(number, {item}));
    tickets.push_back({number, item, LeaseOwner{7, 1001, user, "other", "wait", "r", 0, {}}});
  }
  LeaseExplanation ask(const std::vector<std::string>& texts) {
    auto explanation =
        explain(Machine(inventory), gpus, queue, waiting(queue.size() + 1, texts), texts);
    explanation.request = GpuRequest::parse(texts).to_string();
    explanation.queue = tickets;
    return explanation;
  }
  [[nodiscard]] const std::string& uuid(std::size_t gpu) const { return gpus[gpu].uuid; }

  Inventory inventory;
  std::vector<LeaseStatus> gpus;
  std::vector<QueuedRequest> queue;
  std::vector<LeaseTicket> tickets;
};

TEST_F(ExplainTest, WhatFitsWouldBeGranted_AndSaysWhichGpus) {
  const auto explanation = ask({"L40S:2"});
  EXPECT_THAT(explanation.grant, ElementsAre(uuid(0), uuid(1)));
  EXPECT_EQ(explanation.to_string(),
            "L40S:2 would be granted now: L40S " + uuid(0) + ", L40S " + uuid(1));
}

TEST_F(ExplainTest, WhatIsHeldIsNamedWithItsHolder_WhatIsFreeWithItsName) {
  lease(0, "ana", "train");
  lease(1, "ana", "train");
  lease(2, "ben", "render");
  const auto explanation = ask({"L40S:2"});
  EXPECT_THAT(explanation.grant, IsEmpty());
  ASSERT_EQ(explanation.alternatives.size(), 1U);
  EXPECT_THAT(explanation.alternatives[0].free, ElementsAre(uuid(3)));
  EXPECT_THAT(explanation.alternatives[0].busy, ElementsAre(uuid(0), uuid(1), uuid(2)));
  const auto text = explanation.to_string();
  EXPECT_THAT(text, HasSubstr("L40S:2 would wait: 1 of 4 GPUs free, next in line"));
  EXPECT_THAT(text, HasSubstr("needs 2 x L40S; 1 free (L40S " + uuid(3) + ")"));
  EXPECT_THAT(text, HasSubstr("2 leased by ana, pid 100, app app, function train, for "));
  EXPECT_THAT(text, HasSubstr("1 leased by ben"));
}

TEST_F(ExplainTest, AFreeGpuThatAnEarlierRequestKeeps_IsNotFreeForALaterOne) {
  lease(0, "ana", "train");
  ahead("ben", "L40S:4");
  const auto explanation = ask({"L40S"});
  EXPECT_THAT(explanation.grant, IsEmpty());
  EXPECT_EQ(explanation.position, 1U);
  EXPECT_THAT(explanation.alternatives[0].free, IsEmpty());
  EXPECT_THAT(explanation.alternatives[0].kept,
              ElementsAre(Kept{uuid(1), 1}, Kept{uuid(2), 1}, Kept{uuid(3), 1}));
  EXPECT_THAT(explanation.to_string(),
              HasSubstr("3 kept for request 1 of ben (L40S:4), which came earlier"));
}

TEST_F(ExplainTest, AGpuThatAnEarlierRequestIsAboutToGetIsKeptForIt) {
  ahead("ben", "L40S:3");
  EXPECT_THAT(ask({"L40S:2"}).alternatives[0].kept,
              ElementsAre(Kept{uuid(0), 1}, Kept{uuid(1), 1}, Kept{uuid(2), 1}));
}

TEST_F(ExplainTest, WhatAnEarlierRequestCannotUseIsFreeForALaterOne) {
  use(machines::two_and_two());
  lease(0, "ana", "train");
  ahead("ben", "A10G:2");
  EXPECT_THAT(ask({"A10G", "L4"}).grant, ElementsAre(uuid(2)));
}

TEST_F(ExplainTest, AModelOfWhichThereAreTooFewIsNotKeptForAGang) {
  use(machines::mixed());  // one T4, two A10G, one A100-80GB, two H100
  lease(1, "ana", "train");
  lease(4, "ana", "train");
  ahead("ben", "any:2");
  const auto explanation = ask({"T4", "H100"});
  EXPECT_THAT(explanation.grant, ElementsAre(uuid(0)));
  EXPECT_THAT(explanation.alternatives[0].free, ElementsAre(uuid(0)));
  EXPECT_THAT(explanation.alternatives[1].kept, ElementsAre(Kept{uuid(5), 1}));
}

TEST_F(ExplainTest, EachAlternativeIsExplained_AndNeverIsNotLater) {
  lease(0, "ana", "train");
  const auto explanation = ask({"H100:2", "L40S:8", "L40S:4"});
  ASSERT_EQ(explanation.alternatives.size(), 3U);
  EXPECT_FALSE(explanation.alternatives[0].possible);
  EXPECT_FALSE(explanation.alternatives[1].possible);
  EXPECT_TRUE(explanation.alternatives[2].possible);
  const auto text = explanation.to_string();
  EXPECT_THAT(text, HasSubstr("H100:2 can never be 2 x H100: this machine has none"));
  EXPECT_THAT(text, HasSubstr("L40S:8 can never be 8 x L40S: this machine has 4 that would do"));
  EXPECT_THAT(text, HasSubstr("L40S:4 needs 4 x L40S; 3 free"));
}

TEST_F(ExplainTest, StrangersAndBrokenGpusSayWhatTheyAre) {
  gpus[0].state = LeaseStatus::State::kExternal;
  DeviceProcess process;
  process.pid = 77;
  process.command = "python3";
  process.user = "eve";
  gpus[0].strangers = {process};
  gpus[1].state = LeaseStatus::State::kQuarantined;
  gpus[1].quarantine = Quarantine{gpus[1].uuid, "GPU is lost", "", 0, {}};
  gpus[2].state = LeaseStatus::State::kDraining;
  gpus[2].left = "pid 12 (python)";
  const auto text = ask({"L40S:4"}).to_string();
  EXPECT_THAT(text, HasSubstr("1 used outside ionian by pid 77 (python3) of eve (L40S " + uuid(0)));
  EXPECT_THAT(text, HasSubstr(": GPU is lost; a probe is due (L40S " + uuid(1)));
  EXPECT_THAT(text, HasSubstr("pid 12 (python) is still on it (L40S " + uuid(2)));
}

TEST_F(ExplainTest, TheFirstLineIsShort_HoweverLongTheQueue) {
  lease(0, "ana", "train");
  for (int i = 0; i < 200; ++i) ahead("ben", "L40S:4");
  const auto text = ask({"L40S:4"}).to_string();
  EXPECT_LT(text.find('\n'), 200U);
  EXPECT_THAT(text, HasSubstr("and 190 more ahead"));
  EXPECT_THAT(text, Not(HasSubstr("request 20,")));
}

}  // namespace
}  // namespace ionian
