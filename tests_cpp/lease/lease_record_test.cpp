#include "lease/lease_record.hpp"

#include <gtest/gtest.h>

namespace ionian {
namespace {

LeaseRecord record() {
  LeaseRecord record;
  record.owner = {123,
                  1000,
                  "alice",
                  "digits",
                  "train",
                  "00ff",
                  1'700'000'000'000'000'000,
                  {"digits.main (H100 GPU-c)"}};
  record.number = 42;
  record.held = {"GPU-c"};
  record.wishes = {{"H100:2", {"GPU-a", "GPU-b"}}, {"any", {}}};
  return record;
}

TEST(LeaseRecord, ReadsBackWhatItWrites) {
  EXPECT_EQ(LeaseRecord::parse(record().to_string()), record());
}

TEST(LeaseRecord, IsLinesThatPeopleCanRead) {
  EXPECT_EQ(record().to_string(),
            "ionian 1\npid 123\nuid 1000\nuser alice\napp digits\nfunction train\nrun 00ff\n"
            "since_ns 1700000000000000000\ncaller digits.main (H100 GPU-c)\nnumber 42\n"
            "held GPU-c\nwish H100:2 GPU-a GPU-b\nwish any\n");
}

TEST(LeaseRecord, ANameWithALineEndStaysOnOneLine) {
  LeaseRecord tricky = record();
  tricky.owner.app = "x\nnumber 1";
  EXPECT_EQ(LeaseRecord::parse(tricky.to_string())->number, 42U);
}

TEST(LeaseRecord, ControlCharactersOfAStrangersFileDoNotReachATerminal) {
  const auto read =
      LeaseRecord::parse("ionian 1\nuser \x1b[2Jeve\nwish \x01 \t\nwish H100\t GPU-a \n");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->owner.user, " [2Jeve");
  EXPECT_EQ(read->wishes, (std::vector<LeaseRecord::Wish>{{"H100", {"GPU-a"}}}));
  EXPECT_EQ(LeaseRecord::parse(read->to_string()), read);
}

TEST(LeaseRecord, WhateverDoesNotParseIsNothing) {
  for (const char* text :
       {"", "\n", "ionian 2\npid 1\n", "ionian 1\npid x\n", "ionian 1\nnumber -1\n",
        "ionian 1\nuid 99999999999999\n", "GIF89a\0\xff"}) {
    EXPECT_EQ(LeaseRecord::parse(text), std::nullopt) << text;
  }
}

TEST(LeaseRecord, FieldsOfLaterVersionsAreSkipped) {
  EXPECT_EQ(LeaseRecord::parse("ionian 1\npid 5\ncolour blue\n")->owner.pid, 5);
}

TEST(LeaseRecord, AStrangersFileCannotMakeUsKeepMoreThanItsShare) {
  std::string text = "ionian 1\n";
  for (int i = 0; i < 1000; ++i) text += "caller a\nheld GPU-a\nwish any\n";
  const auto read = LeaseRecord::parse(text);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->owner.callers.size(), 256U);
  EXPECT_EQ(read->held.size(), 256U);
  EXPECT_EQ(read->wishes.size(), 64U);
}

TEST(LeaseRecord, EveryTruncationIsReadWithoutHarm) {
  const std::string text = record().to_string();
  for (std::size_t size = 0; size < text.size(); ++size) {
    static_cast<void>(LeaseRecord::parse(std::string_view(text).substr(0, size)));
  }
}

}  // namespace
}  // namespace ionian
