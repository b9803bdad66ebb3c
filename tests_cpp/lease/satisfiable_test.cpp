#include "lease/satisfiable.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ionian/error.hpp"
#include "lease/machine.hpp"
#include "support/machines.hpp"

namespace ionian {
namespace {

using ::testing::HasSubstr;

std::string refusal(const Inventory& inventory, const std::vector<std::string>& request,
                    GpuMatch match = GpuMatch::kUpgrade) {
  try {
    check_satisfiable(GpuRequest::parse(request), inventory, match, {});
  } catch (const UnsatisfiableError& error) {
    return error.what();
  }
  return "";
}

TEST(Satisfiable, SaysWhatExistsAndTheNearestThatWouldFit) {
  const auto text = refusal(machines::dgx_h100(), {"H100:9"});
  EXPECT_THAT(text, HasSubstr("8 x H100"));
  EXPECT_THAT(text, HasSubstr("\"H100:8\""));
  EXPECT_THAT(refusal(machines::hgx_h200(), {"H100!"}), HasSubstr("8 x H200"));
  EXPECT_THAT(refusal(machines::two_and_two(), {"any:3"}), HasSubstr("\"any:2\""));
  EXPECT_THAT(refusal(machines::one_a10g(), {"B200"}), HasSubstr("--gpu-match pretend"));
}

TEST(Satisfiable, WhereNoGpuIsOfThatModel_TheMostFrequentOneIsNamed) {
  EXPECT_THAT(refusal(machines::mixed(), {"B200:2"}), HasSubstr("ask for \"A10G:2\""));
}

TEST(Satisfiable, WhoPretendsAlreadyIsNotToldToPretend) {
  const auto text = refusal(machines::one_a10g(), {"B200:2"}, GpuMatch::kPretend);
  EXPECT_THAT(text, HasSubstr("ask for \"A10G\""));
  EXPECT_EQ(text.find("pretend"), std::string::npos) << text;
}

TEST(Satisfiable, TheFirstLineIsShort) {
  const auto text = refusal(machines::one_a10g(), {"H100:8", "A100-80GB:4"});
  EXPECT_LT(text.find('\n'), 200U);
}

TEST(Satisfiable, OneAlternativeThatFitsIsEnough) {
  EXPECT_EQ(refusal(machines::one_a10g(), {"H100:8", "any"}), "");
}

TEST(Satisfiable, NoGpuAtAll_SaysWhyAndWhatToDo) {
  Inventory none;
  none.reason = "libnvidia-ml.so.1: not found";
  const auto text = refusal(none, {"any"});
  EXPECT_THAT(text, HasSubstr("not found"));
  EXPECT_THAT(text, HasSubstr("--simulate \"A10G:1\""));
  EXPECT_THAT(refusal(none, {"H100:2"}), HasSubstr("--simulate \"H100:2\""));
}

TEST(Satisfiable, WhatNeedsAGpuInTroubleIsImpossibleNow_NotForEver) {
  Inventory sick = machines::workstation_2x4090();
  sick.devices[1].trouble = "GPU is lost";
  const auto now = [&](const char* text) {
    return possible_now(GpuRequest::parse(std::string(text)), sick, GpuMatch::kUpgrade);
  };
  EXPECT_EQ(refusal(sick, {"RTX4090:2"}), "");
  EXPECT_FALSE(now("RTX4090:2"));
  EXPECT_TRUE(now("RTX4090"));
  EXPECT_THAT(refusal(sick, {"RTX4090:3"}), HasSubstr("GPU is lost"));
}

TEST(Satisfiable, AnUpgradeThatIsWellGoesBeforeTheModelAskedForInTrouble) {
  Inventory machine = machines::machine({machines::kH100, machines::kH200});
  const auto bound = [&] {
    const auto request = GpuRequest::parse(std::string("H100"));
    return bind(request.alternatives().front(), machine, GpuMatch::kUpgrade).gpus;
  };
  EXPECT_EQ(bound(), std::vector<std::size_t>{0});
  machine.devices[0].trouble = "GPU is lost";
  EXPECT_EQ(bound(), std::vector<std::size_t>{1});
  machine.devices[1].trouble = "GPU is lost";
  EXPECT_EQ(bound(), std::vector<std::size_t>{0});
}

TEST(Satisfiable, WhatOnlyAnAncestorsGpuCouldServe_IsADeadlock) {
  const auto machine = machines::workstation_2x4090();
  const auto request = GpuRequest::parse(std::string("RTX4090:2"));
  EXPECT_THROW(check_satisfiable(request, machine, GpuMatch::kUpgrade, {machine.devices[0].uuid}),
               LeaseDeadlockError);
  EXPECT_NO_THROW(check_satisfiable(GpuRequest::parse(std::string("any")), machine,
                                    GpuMatch::kUpgrade, {machine.devices[0].uuid}));
}

}  // namespace
}  // namespace ionian
