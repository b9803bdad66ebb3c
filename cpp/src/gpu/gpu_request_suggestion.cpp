// gpu_request_suggestion.cpp: what somebody who wrote an invalid item may have meant.
//
// The text is first made plain ASCII without spaces. What then reads as valid is the suggestion;
// else the name is replaced by the nearest name of the catalog and the count by the number it
// begins with. Nearest is by edit distance, in which likely slips cost less than the rest: a
// look-alike ("h1OO"), a hyphen too many or too few ("L-40S"), an ending left out ("A100-80").
#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>
#include <vector>

#include "gpu/gpu_request_parser.hpp"
#include "gpu/text.hpp"
#include "ionian/catalog.hpp"

namespace ionian::gpu_request_parser {
namespace {

constexpr std::size_t kLongestText = 256;  // nothing longer is a slip of the pen
constexpr std::size_t kLongestName = 48;
constexpr int kEdit = 4;
constexpr int kDigit = 6;
constexpr int kFirst = 8;
constexpr int kEnding = 2;
constexpr int kHyphen = 1;
constexpr int kLookAlike = 1;

/// Returns the digit that `code` is in one of the scripts with digits of their own, else -1.
int digit_value(char32_t code) {
  for (const char32_t zero : {0x0660U, 0x06f0U, 0x0966U, 0x09e6U, 0x0e50U, 0xff10U}) {
    if (code >= zero && code < zero + 10) return static_cast<int>(code - zero);
  }
  return -1;
}

/// Returns `text` as ASCII: digits of other scripts and full-width letters become ours; spaces,
/// control characters and the rest go.
std::string plain(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const auto decoded = text::decode_utf8(text, at);
    at += decoded.length;
    if (!decoded.valid) continue;
    const int digit = digit_value(decoded.code);
    const bool full_width = decoded.code >= 0xff01 && decoded.code <= 0xff5e;
    const char32_t code = full_width ? decoded.code - 0xfee0 : decoded.code;
    if (digit >= 0) {
      out += static_cast<char>('0' + digit);
    } else if (code > 0x20 && code < 0x7f) {
      out += static_cast<char>(code);
    }
  }
  return out;
}

bool look_alike(char a, char b) {
  constexpr std::array<std::pair<char, char>, 6> pairs{
      {{'O', '0'}, {'I', '1'}, {'L', '1'}, {'S', '5'}, {'B', '8'}, {'Z', '2'}}};
  return std::any_of(pairs.begin(), pairs.end(), [&](const auto& pair) {
    return (pair.first == a && pair.second == b) || (pair.first == b && pair.second == a);
  });
}

int substitution(char from, char to, bool first) {
  if (from == to) return 0;
  if (look_alike(from, to)) return kLookAlike;
  if (first) return kFirst;
  return text::is_digit(from) && text::is_digit(to) ? kDigit : kEdit;
}

/// Returns the cost of turning `from` into `to`, both in upper case: the usual table, row by row.
int distance(std::string_view from, std::string_view to) {
  const auto insert = [&](std::size_t i, std::size_t j) {
    return to[j] == '-' ? kHyphen : i == from.size() ? kEnding : kEdit;
  };
  const auto erase = [&](std::size_t i, std::size_t j) {
    return from[i] == '-' ? kHyphen : j == to.size() ? kEnding : kEdit;
  };
  std::vector<int> row(to.size() + 1, 0);
  for (std::size_t j = 0; j < to.size(); ++j) row[j + 1] = row[j] + insert(0, j);
  for (std::size_t i = 0; i < from.size(); ++i) {
    int diagonal = row[0];
    row[0] += erase(i, 0);
    for (std::size_t j = 0; j < to.size(); ++j) {
      const int best = std::min({diagonal + substitution(from[i], to[j], i == 0 && j == 0),
                                 row[j + 1] + erase(i, j + 1), row[j] + insert(i + 1, j)});
      diagonal = std::exchange(row[j + 1], best);
    }
  }
  return row.back();
}

/// Returns the catalog's spelling nearest to `name`, "" if none is near.
std::string nearest(std::string_view name) {
  std::string wanted = text::upper(name);
  for (const std::string_view maker : {"NVIDIA", "GEFORCE", "TESLA"}) {
    if (const auto at = wanted.find(maker); at != std::string::npos) wanted.erase(at, maker.size());
  }
  const auto is_name = [](char c) { return text::is_alpha(c) || text::is_digit(c) || c == '-'; };
  wanted.erase(std::remove_if(wanted.begin(), wanted.end(), [&](char c) { return !is_name(c); }),
               wanted.end());
  wanted.erase(0, wanted.find_first_not_of('-'));
  if (wanted.empty() || wanted.size() > kLongestName) return "";
  const int limit = std::max(kDigit, kEdit * static_cast<int>(wanted.size()) / 3);
  int best = limit + 1;
  std::string_view found;
  const auto consider = [&](std::string_view candidate, std::string_view type) {
    // Each character too many or too few costs at least 1.
    const auto gap = static_cast<int>(candidate.size()) - static_cast<int>(wanted.size());
    if (std::abs(gap) >= best) return;
    const int cost = distance(wanted, candidate);
    if (cost < best) {
      best = cost;
      found = type;
    }
  };
  for (const auto& model : catalog()) {
    consider(model.type, model.type);
    for (const auto alias : model.aliases) consider(alias, model.type);
  }
  consider("ANY", "any");
  return std::string(found);
}

bool is_valid(std::string_view text) {
  return std::holds_alternative<GpuRequestItem>(read_item(text));
}

/// Returns ":n" for the number that `text` begins with after sign and zeros, "" for none or 1.
std::string count_suffix(std::string_view text) {
  std::string digits;
  for (const char c : text) {
    if (text::is_digit(c)) {
      if (!digits.empty() || c != '0') digits += c;
    } else if (c != '_' && !(digits.empty() && (c == '+' || c == '-' || c == ':'))) {
      break;
    }
  }
  return digits.empty() || digits == "1" ? "" : ":" + digits;
}

std::string suggest_type(std::string_view name) {
  if (name.empty()) return "any";
  if (is_valid(name)) return std::string(name);
  if (text::starts_with_ignoring_case(name, "GPU-") ||
      text::starts_with_ignoring_case(name, "MIG-")) {
    return "";
  }
  const auto unit = static_cast<std::size_t>(
      std::find_if_not(name.begin(), name.end(), text::is_digit) - name.begin());
  if (unit > 0 && unit < name.size()) {
    const std::string_view rest = name.substr(unit);
    for (const std::string_view spelling : {"G", "GIB", "GI", "GBS"}) {
      std::string memory = std::string(name.substr(0, unit)) + "GB";
      if (text::equal_ignoring_case(rest, spelling) && is_valid(memory)) return memory;
    }
  }
  const char last = name.back();
  if ((last == '!' || last == '+') && name.size() > 1) {
    const std::string type = suggest_type(name.substr(0, name.size() - 1));
    return is_valid(type + last) ? type + last : type;
  }
  return nearest(name);
}

std::string suggest_list(std::string_view text) {
  std::string list = "[";
  for (auto part : text::split(text, ',')) {
    const auto quote = [](char c) { return c == '"' || c == '\'' || c == '[' || c == ']'; };
    while (!part.empty() && quote(part.front())) part.remove_prefix(1);
    while (!part.empty() && quote(part.back())) part.remove_suffix(1);
    const std::string item = is_valid(part) ? std::string(part) : suggest(part);
    if (part.empty() || item.empty()) return "";
    if (list.size() > 1) list += ", ";
    list += '"' + item + '"';
  }
  return list + "]";
}

}  // namespace

std::string suggest(std::string_view text) {
  if (text.size() > kLongestText) return "";
  const std::string wanted = plain(text);
  if (wanted.find(',') != std::string::npos) return suggest_list(wanted);
  if (!wanted.empty() && std::all_of(wanted.begin(), wanted.end(), text::is_digit)) {
    const std::string any = "any" + count_suffix(wanted);
    return is_valid(any) ? any : "any";
  }
  const std::size_t colon = std::min(wanted.find(':'), wanted.size());
  const std::string type = suggest_type(std::string_view(wanted).substr(0, colon));
  if (type.empty()) return "";
  for (const std::string& candidate :
       {type + (colon < wanted.size() ? count_suffix(wanted.substr(colon + 1)) : ""), type}) {
    const auto result = read_item(candidate);
    if (const auto* item = std::get_if<GpuRequestItem>(&result)) return item->to_string();
  }
  return "";
}

}  // namespace ionian::gpu_request_parser
