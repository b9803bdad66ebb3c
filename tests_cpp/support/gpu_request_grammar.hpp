// gpu_request_grammar.hpp: the grammar of `gpu=` read a second time, by a regular expression and a
// range, without any code of the parser.
#pragma once

#include <algorithm>
#include <regex>
#include <set>
#include <string>

#include "ionian/catalog.hpp"

namespace ionian::testing {

/// Returns whether the grammar has `text`.
inline bool is_gpu_request(const std::string& text) {
  static const std::set<std::string> names_of_catalog = [] {
    std::set<std::string> names;
    for (const auto& model : catalog()) {
      names.insert(std::string(model.type));
      names.insert(model.aliases.begin(), model.aliases.end());
    }
    return names;
  }();
  static const std::regex item("([A-Z0-9._-]+?)([!+]?)(?::([1-9][0-9]{0,9}))?");
  static const std::regex memory("[1-9][0-9]{0,9}GB");
  static const std::regex uuid(
      "(GPU|MIG)-[0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12}");
  if (text.size() > 80) return false;  // std::regex recurses, and nothing valid is as long
  std::string folded = text;
  std::transform(folded.begin(), folded.end(), folded.begin(), [](char c) {
    return 'a' <= c && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  std::smatch parts;
  if (!std::regex_match(folded, parts, item)) return false;
  const std::string type = parts[1];
  const long long count = parts[3].matched ? std::stoll(parts[3]) : 1;
  if (count > 2147483647) return false;
  if (type == "ANY") return parts[2].length() == 0;
  if (std::regex_match(type, uuid)) return parts[2].length() == 0 && count == 1;
  if (std::regex_match(type, memory)) return std::stoll(type) <= 4294967295LL;
  return names_of_catalog.count(type) == 1;
}

}  // namespace ionian::testing
