#include "base/wire.hpp"

#include "ionian/error.hpp"

namespace ionian::wire {

std::string_view Reader::take(std::uint64_t size) {
  if (size > rest_.size()) {
    throw ExecutionError("[wire] message is cut short: wanted " + std::to_string(size) +
                         " bytes, " + std::to_string(rest_.size()) + " are left");
  }
  const std::string_view result = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return result;
}

std::uint64_t Reader::integer(int width) {
  const std::string_view bytes = take(static_cast<std::uint64_t>(width));
  std::uint64_t value = 0;
  for (int i = width; i-- > 0;)
    value = (value << 8) | static_cast<std::uint8_t>(bytes[static_cast<std::size_t>(i)]);
  return value;
}

bool Reader::boolean() {
  const std::uint8_t value = u8();
  if (value > 1) {
    throw ExecutionError("[wire] expected a truth value, 0 or 1, got " + std::to_string(value));
  }
  return value == 1;
}

std::vector<std::string> Reader::texts() {
  const std::uint32_t count = u32();
  std::vector<std::string> values;
  for (std::uint32_t i = 0; i < count; ++i) values.push_back(text());
  return values;
}

void Reader::finish() const {
  if (!rest_.empty()) {
    throw ExecutionError("[wire] message is too long: " + std::to_string(rest_.size()) +
                         " bytes are left over");
  }
}

}  // namespace ionian::wire
