#include "gpu/text.hpp"

#include <gtest/gtest.h>

#include <string>

namespace ionian::text {
namespace {

using namespace std::string_literals;

TEST(Quoted, ShowsOnlyPrintableAscii) {
  EXPECT_EQ(quoted("H100", 40), R"("H100")");
  EXPECT_EQ(quoted("a\"b\\c", 40), R"("a\"b\\c")");
  EXPECT_EQ(quoted("\n\t\x01\x7f"s + '\0', 40), R"("\n\t\x01\x7f\x00")");
  EXPECT_EQ(quoted("\xc3\xa9", 40), R"("\u00e9")");
  EXPECT_EQ(quoted("\xf0\x9f\x98\x80", 40), R"("\U0001f600")");
  EXPECT_EQ(quoted("\xff", 40), R"("\xff")");
}

TEST(Quoted, CutsWhatIsLongAndNamesItsSize) {
  EXPECT_EQ(quoted(std::string(1000, 'x'), 4), R"("xxxx..." (1000 bytes))");
}

TEST(DecodeUtf8, RefusesWhatIsNotUtf8) {
  EXPECT_TRUE(decode_utf8("\xef\xbc\x91", 0).valid);
  for (const std::string& bad : {"\x80"s, "\xc0\x80"s, "\xed\xa0\x80"s, "\xf5\x80\x80\x80"s,
                                 "\xe2\x82"s, "\xe0\x80\x80"s, "\xf0\x80\x80\x80"s}) {
    EXPECT_FALSE(decode_utf8(bad, 0).valid) << quoted(bad, 40);
    EXPECT_EQ(decode_utf8(bad, 0).length, 1U);
  }
}

TEST(Split, KeepsEmptyParts) {
  EXPECT_EQ(split("", ',').size(), 1U);
  EXPECT_EQ(split("a,,b", ',').size(), 3U);
  EXPECT_EQ(split("a,", ',').back(), "");
}

}  // namespace
}  // namespace ionian::text
