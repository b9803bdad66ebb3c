#include "gpu/gpu_request_parser.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "gpu/text.hpp"
#include "ionian/catalog.hpp"

namespace ionian::gpu_request_parser {
namespace {

using Item = GpuRequestItem;
using Result = std::variant<Item, Fault>;

constexpr std::size_t kPrefixSize = 4;  // "GPU-", "MIG-"
constexpr std::size_t kUuidSize = 36;   // 8-4-4-4-12

Fault fault(std::size_t position, std::size_t length, std::string expected) {
  return {position, length, std::move(expected)};
}

bool is_type_character(char c) {
  return text::is_alpha(c) || text::is_digit(c) || c == '-' || c == '_' || c == '.';
}

std::size_t count_while(std::string_view text, bool (*accepts)(char)) {
  return static_cast<std::size_t>(std::find_if_not(text.begin(), text.end(), accepts) -
                                  text.begin());
}

/// Returns the bytes of the character at `at`, so that a fault never cuts one in two.
std::size_t character_size(std::string_view text, std::size_t at) {
  return at < text.size() ? text::decode_utf8(text, at).length : 0;
}

/// Reads the digits of `text`, which begins `offset` bytes into the item.
std::variant<int, Fault> read_count(std::string_view text, std::size_t offset) {
  const std::size_t digits = count_while(text, text::is_digit);
  if (digits == 0) {
    const bool sign = text.size() > 1 && (text[0] == '-' || text[0] == '+');
    const std::size_t length = sign ? text.size() : character_size(text, 0);
    return fault(offset, length, "a count: a whole number from 1, in digits 0-9");
  }
  if (digits < text.size()) {
    return fault(offset + digits, character_size(text, digits), "a digit or the end");
  }
  if (text[0] == '0') {
    return fault(offset, digits,
                 digits == 1 ? "a count of at least 1" : "a count without leading zeros");
  }
  int count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc()) return fault(offset, digits, "a count of at most 2147483647");
  return count;
}

bool is_uuid_name(std::string_view name) {
  return text::starts_with_ignoring_case(name, "GPU-") ||
         text::starts_with_ignoring_case(name, "MIG-");
}

std::optional<Fault> read_uuid(std::string_view name, Item& item) {
  const std::string_view uuid = name.substr(kPrefixSize);
  for (std::size_t i = 0; i < kUuidSize; ++i) {
    const bool hyphen = i == 8 || i == 13 || i == 18 || i == 23;
    const bool fits = i < uuid.size() && (hyphen ? uuid[i] == '-' : text::is_hex(uuid[i]));
    if (!fits) {
      return fault(kPrefixSize + i, i < uuid.size() ? 1 : 0,
                   "a whole UUID, as `nvidia-smi -L` prints it");
    }
  }
  if (uuid.size() > kUuidSize) {
    return fault(kPrefixSize + kUuidSize, uuid.size() - kUuidSize, "the end of the UUID");
  }
  item.kind = Item::Kind::kUuid;
  item.type = text::upper(name.substr(0, kPrefixSize)) + text::lower(uuid);
  return std::nullopt;
}

/// Reads "40GB". Returns whether `name` is one.
bool read_memory(std::string_view name, Item& item) {
  const std::size_t digits = count_while(name, text::is_digit);
  if (digits == 0 || name[0] == '0' || !text::equal_ignoring_case(name.substr(digits), "GB")) {
    return false;
  }
  std::uint32_t size = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + digits, size);
  if (error != std::errc()) return false;
  item.kind = Item::Kind::kMemory;
  item.memory_gb = size;
  item.type = std::to_string(size) + "GB";
  return true;
}

/// Reads the type, which begins the item. `item.binding` has been read.
std::optional<Fault> read_type(std::string_view name, Item& item) {
  if (is_uuid_name(name)) return read_uuid(name, item);
  if (text::equal_ignoring_case(name, "any")) return std::nullopt;
  if (read_memory(name, item)) return std::nullopt;
  if (const GpuModel* model = find_model(name)) {
    item.kind = Item::Kind::kModel;
    item.type = model->type;
    return std::nullopt;
  }
  const bool digits = count_while(name, text::is_digit) == name.size();
  return fault(0, name.size(),
               digits ? "a GPU model before the count" : "a GPU model that the catalog knows");
}

}  // namespace

Result read_item(std::string_view text) {
  Item item;
  std::size_t at = count_while(text, is_type_character);
  const std::string_view name = text.substr(0, at);
  if (name.empty()) {
    return fault(0, character_size(text, 0), "a GPU model such as H100, a memory size or \"any\"");
  }
  if (at < text.size() && (text[at] == '!' || text[at] == '+')) {
    item.binding = text[at] == '!' ? Item::Binding::kExactly : Item::Binding::kOrNewer;
    ++at;
  }
  if (at < text.size() && text[at] != ':') {
    return fault(at, character_size(text, at), "\":\" and a count, or the end");
  }
  if (auto bad = read_type(name, item)) return *std::move(bad);
  const bool named = item.kind == Item::Kind::kModel || item.kind == Item::Kind::kMemory;
  if (!named && item.binding != Item::Binding::kDefault) {
    return fault(name.size(), 1, "\"!\" and \"+\" only after a model or a memory size");
  }
  if (at == text.size()) return item;
  auto count = read_count(text.substr(at + 1), at + 1);
  if (auto* bad = std::get_if<Fault>(&count)) return std::move(*bad);
  item.count = std::get<int>(count);
  if (item.kind == Item::Kind::kUuid && item.count != 1) {
    return fault(at + 1, text.size() - at - 1, "no count: a UUID is one GPU");
  }
  return item;
}

}  // namespace ionian::gpu_request_parser
