// line_buffer.hpp: bytes of a stream, cut into whole lines.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ionian {

class LineBuffer {
 public:
  static constexpr std::size_t kLongestLine = std::size_t{64} << 10;
  static constexpr std::size_t kTailBytes = std::size_t{64} << 10;

  /// Returns the lines that are whole now, without their ends. A line over kLongestLine comes in
  /// pieces, never cut inside a UTF-8 character.
  std::vector<std::string> push(std::string_view bytes) {
    std::vector<std::string> lines;
    pending_.append(bytes);
    std::size_t at = 0;
    for (;;) {
      const std::size_t end = pending_.find('\n', at);
      const std::size_t size = std::min(end, pending_.size()) - at;
      if (size > kLongestLine) {
        std::size_t cut = kLongestLine;
        while (cut > kLongestLine - 4 && is_continuation(pending_[at + cut])) --cut;
        lines.push_back(pending_.substr(at, cut));
        at += cut;
      } else if (end != std::string::npos) {
        lines.push_back(pending_.substr(at, size));
        at = end + 1;
      } else {
        break;
      }
    }
    pending_.erase(0, at);
    return lines;
  }

  /// Returns what was written after the last line end, "" if nothing.
  std::string finish() { return std::exchange(pending_, {}); }

 private:
  static bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

  std::string pending_;
};

}  // namespace ionian
