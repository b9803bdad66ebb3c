#include "lease/queue_order.hpp"

#include <charconv>

namespace ionian {
namespace {

constexpr std::string_view kFirstLine = "ionian queue 1 ";
constexpr std::string_view kNested = " nested";

template <class Integer>
bool take_number(std::string_view& rest, Integer& value) {
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
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

/// FNV-1a, for a writer can be killed between two pages.
std::string queue_checksum(std::string_view lines) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : lines) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 1099511628211ULL;
  }
  std::string digits(16, '0');
  for (auto digit = digits.rbegin(); digit != digits.rend(); ++digit, hash >>= 4)
    *digit = "0123456789abcdef"[hash & 15];
  return digits;
}

std::string to_string(const std::vector<QueuePlace>& order) {
  std::string lines;
  for (const QueuePlace& place : order) {
    lines += std::to_string(place.number) + " " + std::to_string(place.slot);
    if (place.nested) lines += kNested;
    lines += '\n';
  }
  return std::string(kFirstLine) + queue_checksum(lines) + "\n" + lines;
}

std::optional<std::vector<QueuePlace>> parse_queue_order(std::string_view text) {
  const std::size_t head = text.find('\n');
  if (head == std::string_view::npos) return std::nullopt;
  std::string_view first = text.substr(0, head);
  text.remove_prefix(head + 1);
  if (!take(first, kFirstLine) || first != queue_checksum(text)) return std::nullopt;
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
