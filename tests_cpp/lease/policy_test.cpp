#include "lease/policy.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/machines.hpp"

namespace ionian {
namespace {

using Gpus = std::vector<std::size_t>;
using ::testing::Optional;

/// What `request` gets on `inventory` when all GPUs but `taken` are free.
std::optional<Gpus> chosen(const Inventory& inventory, const std::string& request,
                           const Gpus& taken = {}, GpuMatch match = GpuMatch::kUpgrade) {
  const auto item = GpuRequest::parse(request).alternatives().front();
  std::vector<bool> free(inventory.devices.size(), true);
  for (const std::size_t gpu : taken) free[gpu] = false;
  return policy::choose(Machine(inventory), bind(item, inventory, match), free);
}

TEST(Policy, Any_TakesTheCheapestFreeModelFirst) {
  const auto machine = machines::mixed();  // T4, A10G, A10G, A100-80GB, H100, H100
  EXPECT_THAT(chosen(machine, "any"), Optional(Gpus{0}));
  EXPECT_THAT(chosen(machine, "any", {0}), Optional(Gpus{1}));
  EXPECT_THAT(chosen(machine, "any", {0, 1, 2}), Optional(Gpus{3}));
  EXPECT_THAT(chosen(machine, "any", {0, 1, 2, 3}), Optional(Gpus{4}));
  EXPECT_EQ(chosen(machine, "any", {0, 1, 2, 3, 4, 5}), std::nullopt);
}

TEST(Policy, AGangIsOfOneModel) {
  const auto machine = machines::two_and_two();  // A10G, A10G, L4, L4
  EXPECT_THAT(chosen(machine, "any:2"), Optional(Gpus{2, 3}));
  EXPECT_THAT(chosen(machine, "any:2", {2}), Optional(Gpus{0, 1}));
  EXPECT_EQ(chosen(machine, "any:2", {0, 2}), std::nullopt);
  EXPECT_EQ(chosen(machine, "any:3"), std::nullopt);
}

TEST(Policy, AGangTakesTheBestLinkedSet) {
  EXPECT_THAT(chosen(machines::pcie_4x(), "L40S:2", {0}), Optional(Gpus{2, 3}));
  EXPECT_THAT(chosen(machines::pcie_8x(), "A10G:2", {0, 3, 5}), Optional(Gpus{6, 7}));
  EXPECT_THAT(chosen(machines::pcie_8x(), "A10G:4", {0}), Optional(Gpus{4, 5, 6, 7}));
  EXPECT_THAT(chosen(machines::dgx_v100(), "V100:2"),
              Optional(Gpus{0, 3}));  // two links; 0-1 has one
  EXPECT_THAT(chosen(machines::dgx_v100(), "V100:4"), Optional(Gpus{0, 1, 2, 3}));
}

TEST(Policy, OneGpuIsTakenWhereItHurtsTheRestLeast) {
  EXPECT_THAT(chosen(machines::pcie_4x(), "L40S", {1}), Optional(Gpus{0}));  // 2 and 3 stay a pair
  EXPECT_THAT(chosen(machines::pcie_8x(), "A10G", {3}), Optional(Gpus{2}));  // its partner is gone
  EXPECT_THAT(chosen(machines::dgx_h100(), "H100", {0}),
              Optional(Gpus{1}));  // all alike: the first
}

TEST(Policy, AModelIsUpgradedOnlyWhereTheMachineHasTooFewOfIt) {
  const auto both = machines::h100_and_h200();  // H100, H100, H200, H200
  EXPECT_THAT(chosen(both, "H100"), Optional(Gpus{0}));
  EXPECT_EQ(chosen(both, "H100", {0, 1}), std::nullopt);  // waits: the H200 stay free
  EXPECT_THAT(chosen(machines::hgx_h200(), "H100:8"), Optional(Gpus{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(chosen(machines::hgx_h200(), "H100!"), std::nullopt);
  EXPECT_THAT(chosen(machines::dgx_a100(), "A100"), Optional(Gpus{0}));
  EXPECT_EQ(chosen(machines::dgx_a100(), "A100-40GB"), std::nullopt);
}

TEST(Policy, PretendTakesAnyGpu) {
  EXPECT_THAT(chosen(machines::one_a10g(), "B200", {}, GpuMatch::kPretend), Optional(Gpus{0}));
  EXPECT_EQ(chosen(machines::one_a10g(), "B200"), std::nullopt);
}

TEST(Policy, MoreThanSixteenFreeGpus_AreChosenGreedily_StillWell) {
  Inventory machine = machines::machine(std::vector<machines::Model>(32, machines::kA10G));
  for (const std::size_t a : {20, 21, 22}) {
    for (const std::size_t b : {20, 21, 22}) {
      if (a < b) machine.topology.set(a, b, Link::kNvlink, 4);
    }
  }
  EXPECT_THAT(chosen(machine, "A10G:3"), Optional(Gpus{20, 21, 22}));
  EXPECT_THAT(chosen(machine, "A10G"), Optional(Gpus{0}));
  EXPECT_EQ(chosen(machine, "A10G:33"), std::nullopt);
}

}  // namespace
}  // namespace ionian
