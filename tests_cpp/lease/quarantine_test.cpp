// What a health file says, when a GPU is probed again, and what counts as left on it. All pure.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lease/quarantine.hpp"

namespace ionian {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

const std::vector<std::chrono::milliseconds> kPauses{30s, 60s, 300s, 1800s};
const sys::TimePoint kProbed{1'000'000s};

QuarantineRecord record(std::uint32_t faults = 1) {
  QuarantineRecord made;
  made.quarantine = {"GPU-a", "Xid 79: GPU has fallen off the bus",    "reboot the machine",
                     79,      {12, 1000, "alice", "train", "", "", 5}, "GPU is lost",
                     0ms};
  made.boot = "this-boot";
  made.probed_ns = kProbed.time_since_epoch().count();
  made.faults = faults;
  made.memory_bytes = 7;
  return made;
}

TEST(QuarantineRecord, ReadsWhatItWrote) {
  EXPECT_EQ(QuarantineRecord::parse(record().to_string()), record());
  EXPECT_EQ(QuarantineRecord::parse(QuarantineRecord{}.to_string()), QuarantineRecord{});
}

TEST(QuarantineRecord, KeepsItsLinesWhateverTheTextsSay) {
  auto hostile = record();
  hostile.quarantine.reason = "a\nfaults 9\nend\n";
  const auto read = QuarantineRecord::parse(hostile.to_string());
  ASSERT_TRUE(read);
  EXPECT_EQ(read->faults, 1U);
}

TEST(QuarantineRecord, IgnoresTheRestOfALongerRecordBeforeIt) {
  auto longer = record();
  longer.quarantine.reason = std::string(300, 'x');
  std::string text = longer.to_string();
  const std::string shorter = record().to_string();
  text.replace(0, shorter.size(), shorter);  // a writer that was killed before it cut the file
  EXPECT_EQ(QuarantineRecord::parse(text), record());
}

TEST(QuarantineRecord, WhatIsNoRecordQuarantinesNothing) {
  const std::string good = record().to_string();
  for (const std::string& text :
       {std::string(), std::string("nonsense"), std::string(70'000, 'x'),
        std::string("ionian quarantine 1"), std::string("ionian quarantine 2\nend\n"),
        std::string("ionian quarantine 1\nfaults many\nend\n"),
        std::string("ionian quarantine 1\nprobed_ns 99999999999999999999\nend\n")}) {
    EXPECT_EQ(QuarantineRecord::parse(text), std::nullopt) << text.substr(0, 60);
  }
  for (std::size_t length = 0; length + 4 < good.size(); ++length) {
    EXPECT_EQ(QuarantineRecord::parse(good.substr(0, length)), std::nullopt) << length;
  }
}

TEST(NextProbe, PausesGrowWithTheFaultsUpToTheLast) {
  const auto after = [](std::uint32_t faults) {
    return next_probe(record(faults), kPauses, "this-boot", kProbed) - kProbed;
  };
  EXPECT_EQ(after(0), 30s);
  EXPECT_EQ(after(1), 30s);
  EXPECT_EQ(after(2), 1min);
  EXPECT_EQ(after(3), 5min);
  EXPECT_EQ(after(4), 30min);
  EXPECT_EQ(after(4'000'000'000), 30min);
}

TEST(NextProbe, IsAtOnceAfterAReboot_OrForARecordThatCannotBe) {
  const auto now = kProbed + 1s;
  EXPECT_EQ(next_probe(record(4), kPauses, "another-boot", now), now);
  EXPECT_EQ(next_probe(record(4), {}, "this-boot", now), now);
  EXPECT_EQ(next_probe(record(4), kPauses, "this-boot", kProbed - 1s), kProbed - 1s);
}

TEST(WhatIsLeft, NamesProcesses) {
  DeviceHealth health{true, "", "", {}, 0, false};
  health.processes = {{12, 5, "alice", "python", ""}, {13, 0, "", "", ""}};
  EXPECT_EQ(what_is_left(health, 0), "pid 12 (python) of alice, pid 13");
}

TEST(WhatIsLeft, MemoryCountsOnlyWhereNothingElseAccountsForIt) {
  struct Row {
    const char* what;
    std::uint64_t used;
    std::uint64_t baseline;
    bool draws;
    bool lists;  // the driver lists processes
    bool left;
  };
  constexpr std::uint64_t gib = std::uint64_t{1} << 30;
  for (const Row& row : {Row{"as before", gib, gib, false, true, false},
                         Row{"noise", 2 * gib, gib, false, true, false},
                         Row{"much more", 3 * gib, gib, false, true, true},
                         Row{"no baseline", 3 * gib, 0, false, true, false},
                         Row{"a desktop", 3 * gib, gib, true, true, false},
                         Row{"nobody knows", 3 * gib, gib, false, false, false}}) {
    DeviceHealth health{true, "", "", std::nullopt, row.used, row.draws};
    if (row.lists) health.processes.emplace();
    EXPECT_EQ(!what_is_left(health, row.baseline).empty(), row.left) << row.what;
  }
  const DeviceHealth zombie{true, "", "", std::vector<DeviceProcess>{}, 5 * gib, false};
  EXPECT_THAT(what_is_left(zombie, gib), HasSubstr("4096 MiB"));
}

TEST(BootId, IsThisMachines) { EXPECT_EQ(boot_id().size(), 36U); }

}  // namespace
}  // namespace ionian
