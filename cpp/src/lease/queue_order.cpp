#include "lease/queue_order.hpp"

#include <charconv>

namespace ionian {
namespace {

constexpr std::string_view kFirstLine = "ionian queue 1 ";
constexpr std::string_view kNested = " nested";
constexpr int kDigits = 16;
constexpr int kBase = 16;

/// FNV-1a: a writer can be killed between two pages.
std::uint64_t checksum(std::string_view text) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : text) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 1099511628211ULL;
  }
  return hash;
}

template <class Integer>
bool take_number(std::string_view& rest, Integer& value, int base = 10) {
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value, base);
  if (error != std::errc{}) return false;
  rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
  return true;
}

bool take(std::string_view& rest, std::string_view text) {
  if (!rest.starts_with(text)) return false;
  rest.remove_prefix(text.size());
  return true;
}

}  // namespace

std::string to_string(const std::vector<QueuePlace>& order) {
  std::string lines;
  for (const QueuePlace& place : order) {
    lines += std::to_string(place.number) + " " + std::to_string(place.slot);
    if (place.nested) lines += kNested;
    lines += '\n';
  }
  std::string sum(kDigits, '0');
  const std::uint64_t hash = checksum(lines);
  for (int i = 0; i < kDigits; ++i) {
    const auto digit = static_cast<std::size_t>((hash >> (4 * (kDigits - 1 - i))) % kBase);
    sum[static_cast<std::size_t>(i)] = "0123456789abcdef"[digit];
  }
  return std::string(kFirstLine) + sum + "\n" + lines;
}

std::optional<std::vector<QueuePlace>> parse_queue_order(std::string_view text) {
  std::uint64_t sum = 0;
  if (!take(text, kFirstLine) || !take_number(text, sum, kBase) || !take(text, "\n")) {
    return std::nullopt;
  }
  if (sum != checksum(text)) return std::nullopt;
  std::vector<QueuePlace> order;
  while (!text.empty()) {
    QueuePlace place;
    if (!take_number(text, place.number) || !take(text, " ")) return std::nullopt;
    if (!take_number(text, place.slot)) return std::nullopt;
    place.nested = take(text, kNested);
    if (!take(text, "\n")) return std::nullopt;
    if (!order.empty() && order.back().number >= place.number) return std::nullopt;
    order.push_back(place);
  }
  return order;
}

}  // namespace ionian
