// text.hpp: text of strangers, compared without case and shown without harm.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace ionian::text {

/// ASCII only: the result does not depend on the locale.
constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }
constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
constexpr bool is_alpha(char c) { return upper(c) >= 'A' && upper(c) <= 'Z'; }
constexpr bool is_hex(char c) { return is_digit(c) || (upper(c) >= 'A' && upper(c) <= 'F'); }

std::string upper(std::string_view text);
std::string lower(std::string_view text);
bool equal_ignoring_case(std::string_view a, std::string_view b);
bool starts_with_ignoring_case(std::string_view text, std::string_view prefix);

/// Returns the parts of `text` between `separator`s; one empty part for "".
std::vector<std::string_view> split(std::string_view text, char separator);

struct Decoded {
  char32_t code;
  std::size_t length;
  bool valid;
};
/// Returns the UTF-8 sequence that begins at `at`; one byte and not valid if there is none.
Decoded decode_utf8(std::string_view text, std::size_t at);

/// Returns `text` in double quotes, in ASCII without control characters, cut to about `limit`
/// characters and with its size named if it was cut.
std::string quoted(std::string_view text, std::size_t limit);

}  // namespace ionian::text
