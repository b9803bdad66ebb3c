// line_buffer.hpp: bytes of a stream, cut into whole lines.
#pragma once

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
    for (std::size_t end = 0; (end = pending_.find('\n', at)) != std::string::npos; at = end + 1) {
      lines.push_back(pending_.substr(at, end - at));
    }
    pending_.erase(0, at);
    while (pending_.size() > kLongestLine) {
      std::size_t cut = kLongestLine;
      while (cut > kLongestLine - 4 && (static_cast<unsigned char>(pending_[cut]) & 0xc0) == 0x80)
        --cut;
      lines.push_back(pending_.substr(0, cut));
      pending_.erase(0, cut);
    }
    return lines;
  }

  /// Returns what was written after the last line end, "" if nothing.
  std::string finish() { return std::exchange(pending_, {}); }

 private:
  std::string pending_;
};

}  // namespace ionian
