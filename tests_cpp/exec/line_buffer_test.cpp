#include "exec/line_buffer.hpp"

#include <gtest/gtest.h>

namespace ionian {
namespace {

TEST(LineBuffer, LinesCutAnywhere_ComeOutWhole) {
  const std::string text = "one\n\ntwo words\nthree";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    LineBuffer buffer;
    std::vector<std::string> lines = buffer.push(text.substr(0, cut));
    for (auto& line : buffer.push(text.substr(cut))) lines.push_back(std::move(line));
    EXPECT_EQ(lines, (std::vector<std::string>{"one", "", "two words"})) << cut;
    EXPECT_EQ(buffer.finish(), "three") << cut;
    EXPECT_EQ(buffer.finish(), "");
  }
}

TEST(LineBuffer, EndlessLine_ComesInPiecesNeverInsideACharacter) {
  LineBuffer buffer;
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += "\xe2\x82\xac";  // EURO SIGN
  std::string joined;
  for (const auto& piece : buffer.push(text)) {
    EXPECT_LE(piece.size(), LineBuffer::kLongestLine);
    EXPECT_EQ(piece.size() % 3, 0U);
    joined += piece;
  }
  EXPECT_EQ(joined + buffer.finish(), text);
}

TEST(LineBuffer, LongLine_ComesInTheSamePieces_WhetherItsEndIsThereOrNot) {
  const std::string text = std::string(LineBuffer::kLongestLine + 5, 'x') + "\nnext\n";
  LineBuffer whole;
  LineBuffer cut;
  std::vector<std::string> lines = cut.push(text.substr(0, LineBuffer::kLongestLine + 3));
  for (auto& line : cut.push(text.substr(LineBuffer::kLongestLine + 3)))
    lines.push_back(std::move(line));
  EXPECT_EQ(lines, (std::vector<std::string>{std::string(LineBuffer::kLongestLine, 'x'), "xxxxx",
                                             "next"}));
  EXPECT_EQ(whole.push(text), lines);
}

}  // namespace
}  // namespace ionian
