#include "lease/lease_record.hpp"

#include <charconv>

namespace ionian {
namespace {

constexpr std::string_view kFirstLine = "ionian 1";
constexpr std::size_t kMaxWishes = 64;
constexpr std::size_t kMaxCallers = 256;

std::string on_one_line(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  return text;
}

std::string_view take_until(std::string_view& rest, char end) {
  const std::size_t at = rest.find(end);
  const std::string_view taken = rest.substr(0, at);
  rest.remove_prefix(at == std::string_view::npos ? rest.size() : at + 1);
  return taken;
}

template <class Integer>
bool read_number(std::string_view text, Integer& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size();
}

}  // namespace

std::string LeaseRecord::to_string() const {
  std::string text(kFirstLine);
  const auto line = [&text](std::string_view field, const std::string& value) {
    text += '\n';
    text += field;
    text += ' ';
    text += on_one_line(value);
  };
  line("pid", std::to_string(owner.pid));
  line("uid", std::to_string(owner.uid));
  line("user", owner.user);
  line("app", owner.app);
  line("function", owner.function);
  line("run", owner.run);
  line("since_ns", std::to_string(owner.since_ns));
  for (const auto& caller : owner.callers) line("caller", caller);
  if (!gpu.empty()) line("gpu", gpu);
  if (draining_ns != 0) line("draining_ns", std::to_string(draining_ns));
  if (!left.empty()) line("left", left);
  if (number != 0) line("number", std::to_string(number));
  for (const auto& uuid : held) line("held", uuid);
  for (const Wish& wish : wishes) {
    std::string value = wish.item;
    for (const auto& uuid : wish.uuids) value += " " + uuid;
    line("wish", value);
  }
  return text + "\n";
}

std::optional<LeaseRecord> LeaseRecord::parse(std::string_view text) {
  if (take_until(text, '\n') != kFirstLine) return std::nullopt;
  LeaseRecord record;
  LeaseOwner& owner = record.owner;
  while (!text.empty()) {
    const std::string line = on_one_line(std::string(take_until(text, '\n')));
    std::string_view value = line;
    const std::string_view field = take_until(value, ' ');
    bool good = true;
    if (field == "pid") {
      good = read_number(value, owner.pid);
    } else if (field == "uid") {
      good = read_number(value, owner.uid);
    } else if (field == "user") {
      owner.user = value;
    } else if (field == "app") {
      owner.app = value;
    } else if (field == "function") {
      owner.function = value;
    } else if (field == "gpu") {
      record.gpu = value;
    } else if (field == "run") {
      owner.run = value;
    } else if (field == "since_ns") {
      good = read_number(value, owner.since_ns);
    } else if (field == "caller" && owner.callers.size() < kMaxCallers) {
      owner.callers.emplace_back(value);
    } else if (field == "held" && record.held.size() < kMaxCallers) {
      record.held.emplace_back(value);
    } else if (field == "draining_ns") {
      good = read_number(value, record.draining_ns);
    } else if (field == "left") {
      record.left = value;
    } else if (field == "number") {
      good = read_number(value, record.number);
    } else if (field == "wish" && record.wishes.size() < kMaxWishes) {
      std::vector<std::string> words;
      while (!value.empty()) {
        const std::string_view word = take_until(value, ' ');
        if (!word.empty()) words.emplace_back(word);
      }
      if (words.empty()) continue;
      record.wishes.push_back({words.front(), {words.begin() + 1, words.end()}});
    }
    if (!good) return std::nullopt;
  }
  return record;
}

}  // namespace ionian
