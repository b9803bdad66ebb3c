// Output of workers cut into lines: no byte is lost, and the cuts of the stream do not show.
//
// An input is a number that seeds the cuts, a factor, and the stream, which is repeated that often.
#include <algorithm>
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
  std::string_view piece = ionian::fuzz::as_text(data, size);
  const std::uint32_t seed = ionian::fuzz::take_byte(piece);
  const std::size_t factor = std::size_t{1} << (ionian::fuzz::take_byte(piece) % 19);
  std::string bytes;
  while (!piece.empty() && bytes.size() < factor) bytes += piece;
  const auto whole = lines(bytes, bytes.size() + 1, 0);
  std::string joined;
  for (const auto& line : whole) {
    require(line.size() <= LineBuffer::kLongestLine, "no line is longer than the limit");
    joined += line;
  }
  std::string expected = bytes;
  std::erase(expected, '\n');
  require(joined == expected, "no byte is lost or doubled");
  require(lines(bytes, 3000, seed) == whole, "cut anywhere is the same as at once");
  return 0;
}
