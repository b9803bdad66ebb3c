// What an Xid means: the table, and what its owner makes of it.
#include <gtest/gtest.h>

#include "gpu/xid_policy.hpp"
#include "ionian/error.hpp"

namespace ionian {
namespace {

using enum XidSeverity;

TEST(XidPolicy, ProgramsErrorsLeaveTheGpuAndBrokenHardwareDoesNot) {
  for (const unsigned xid : {13U, 31U, 43U, 45U, 68U, 109U}) {
    EXPECT_EQ(classify(xid).severity, kApplication) << xid;
    EXPECT_EQ(classify(xid).action, XidAction::kRestartWorker) << xid;
  }
  for (const unsigned xid : {46U, 48U, 64U, 74U, 79U, 94U, 95U, 119U, 120U}) {
    EXPECT_EQ(classify(xid).severity, kFatal) << xid;
  }
  EXPECT_EQ(classify(63).severity, kDrain);
  EXPECT_EQ(classify(154).severity, kDrain);
  EXPECT_EQ(classify(92).severity, kIgnore);
  EXPECT_EQ(classify(79).action, XidAction::kReboot);
  EXPECT_EQ(classify(48).action, XidAction::kResetGpu);
}

TEST(XidPolicy, AnUnknownXidDrainsTheGpuAndAProbeDecides) {
  for (const unsigned xid : {0U, 7U, 999U, 4'000'000'000U}) {
    EXPECT_EQ(classify(xid).severity, kDrain) << xid;
    EXPECT_EQ(classify(xid).action, XidAction::kProbe) << xid;
    EXPECT_EQ(classify(xid).xid, xid);
  }
}

TEST(XidPolicy, EveryRowSaysWhatItMeansAndWhatToDo) {
  for (const auto& rule : xid_table()) {
    EXPECT_FALSE(rule.meaning.empty()) << rule.xid;
    EXPECT_FALSE(advice(rule.action).empty()) << rule.xid;
    EXPECT_FALSE(name(rule.action).empty()) << rule.xid;
    EXPECT_EQ(classify(rule.xid).meaning, rule.meaning) << rule.xid;
    // Only what can be repaired, or is to be looked at again, takes a GPU away.
    const bool away = rule.severity == kDrain || rule.severity == kFatal;
    const bool repair = rule.action != XidAction::kNone && rule.action != XidAction::kRestartWorker;
    EXPECT_EQ(away, repair) << rule.xid;
  }
}

TEST(XidPolicy, AMachinesOwnerMayDecideOtherwise) {
  const auto own = parse_xid_overrides("94=application,109=fatal,999=ignore");
  EXPECT_EQ(classify(94, own).severity, kApplication);
  EXPECT_EQ(classify(94, own).meaning, classify(94).meaning);
  EXPECT_EQ(classify(109, own).severity, kFatal);
  EXPECT_EQ(classify(999, own).severity, kIgnore);
  EXPECT_EQ(classify(79, own).severity, kFatal);
  EXPECT_TRUE(parse_xid_overrides("").empty());
}

TEST(XidPolicy, RefusesWhatIsNoPolicy) {
  for (const char* text : {"94", "94=", "=fatal", "94=deadly", "x=fatal", "-1=fatal", "94 =fatal",
                           "94=fatal,,", "99999999999=fatal", "94:fatal"}) {
    EXPECT_THROW(static_cast<void>(parse_xid_overrides(text)), InvalidError) << text;
  }
}

}  // namespace
}  // namespace ionian
