// Output of workers cut into lines: no byte is lost, and the cuts of the stream do not show.
//
// An input is a number that seeds the cuts, a character, how long a line of it comes first, and the
// rest of the stream.
#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "exec/line_buffer.hpp"
#include "fuzz/fuzz.hpp"

namespace {

using ionian::LineBuffer;
using ionian::fuzz::require;

std::vector<std::string> lines(std::string_view bytes, std::size_t longest, std::uint32_t seed) {
  LineBuffer buffer;
  std::vector<std::string> result;
  while (!bytes.empty()) {
    seed = seed * 1664525U + 1013904223U;
    const std::size_t size = std::min(bytes.size(), 1 + (seed >> 12) % longest);
    for (auto& line : buffer.push(bytes.substr(0, size))) result.push_back(std::move(line));
    bytes.remove_prefix(size);
  }
  result.push_back(buffer.finish());
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::array<std::string, 4> characters{"x", "\xc3\xa9", "\xe6\x97\xa5",
                                                     "\xf0\x9f\x98\x80"};
  std::string_view rest = ionian::fuzz::as_text(data, size);
  const std::uint32_t seed = ionian::fuzz::take_byte(rest);
  const std::string& filler = characters.at(ionian::fuzz::take_byte(rest) % characters.size());
  // Around the longest line, or none.
  const std::size_t length = ionian::fuzz::take_byte(rest);
  std::string bytes;
  while (length >= 128 && bytes.size() < LineBuffer::kLongestLine + length - 192) bytes += filler;
  bytes += rest;
  const auto whole = lines(bytes, bytes.size() + 1, 0);
  std::string joined;
  for (const auto& line : whole) {
    require(line.size() <= LineBuffer::kLongestLine, "no line is longer than the limit");
    joined += line;
  }
  std::string expected = bytes;
  std::erase(expected, '\n');
  require(joined == expected, "no byte is lost or doubled");
  require(lines(bytes, 9000, seed) == whole, "cut anywhere is the same as at once");
  return 0;
}
