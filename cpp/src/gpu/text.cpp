#include "gpu/text.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

namespace ionian::text {

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = upper(c);
  return out;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = lower(c);
  return out;
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && starts_with_ignoring_case(a, b);
}

bool starts_with_ignoring_case(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() &&
         std::equal(prefix.begin(), prefix.end(), text.begin(),
                    [](char a, char b) { return upper(a) == upper(b); });
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

Decoded decode_utf8(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(at);
  if (lead < 0x80) return {lead, 1, true};
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || at + length > text.size()) return {lead, 1, false};
  char32_t code = lead & (0x7fU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xc0U) != 0x80) return {lead, 1, false};
    code = (code << 6) | (byte(at + i) & 0x3fU);
  }
  constexpr std::array<char32_t, 5> shortest{0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  if (code < shortest.at(length) || code > 0x10ffff || surrogate) return {lead, 1, false};
  return {code, length, true};
}

std::string quoted(std::string_view text, std::size_t limit) {
  std::string out = "\"";
  std::array<char, 16> escape{};
  for (std::size_t at = 0; at < text.size();) {
    if (out.size() > limit) {
      return out + "...\" (" + std::to_string(text.size()) + " bytes)";
    }
    const Decoded decoded = decode_utf8(text, at);
    at += decoded.length;
    if (decoded.valid && decoded.code >= 0x20 && decoded.code < 0x7f) {
      if (decoded.code == '"' || decoded.code == '\\') out += '\\';
      out += static_cast<char>(decoded.code);
      continue;
    }
    const char* format = !decoded.valid || decoded.code < 0x80 ? "\\x%02x"
                         : decoded.code < 0x10000              ? "\\u%04x"
                                                               : "\\U%08x";
    std::snprintf(escape.data(), escape.size(), format, static_cast<unsigned>(decoded.code));
    out += decoded.code == '\n' ? "\\n" : decoded.code == '\t' ? "\\t" : escape.data();
  }
  return out + '"';
}

}  // namespace ionian::text
