// wire.hpp: values as bytes, little-endian, and back with every length checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ionian::wire {

/// Appends values to a byte string.
class Writer {
 public:
  void u8(std::uint8_t value) { bytes_.push_back(static_cast<char>(value)); }
  void u32(std::uint32_t value) { integer(value, 4); }
  void u64(std::uint64_t value) { integer(value, 8); }
  void i64(std::int64_t value) { integer(static_cast<std::uint64_t>(value), 8); }
  void boolean(bool value) { u8(value ? 1 : 0); }
  void text(std::string_view value) {
    u64(value.size());
    bytes_.append(value);
  }
  void texts(const std::vector<std::string>& values) {
    u32(static_cast<std::uint32_t>(values.size()));
    for (const auto& value : values) text(value);
  }
  [[nodiscard]] std::string take() { return std::move(bytes_); }

 private:
  void integer(std::uint64_t value, int width) {
    for (int i = 0; i < width; ++i) u8(static_cast<std::uint8_t>(value >> (8 * i)));
  }
  std::string bytes_;
};

/// Reads what Writer wrote, and nothing that it would not have written. Every function throws
/// ExecutionError when the bytes end too soon, and never allocates more than the bytes that are
/// there.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}
  std::uint8_t u8() { return static_cast<std::uint8_t>(take(1)[0]); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(integer(4)); }
  std::uint64_t u64() { return integer(8); }
  std::int64_t i64() { return static_cast<std::int64_t>(integer(8)); }
  bool boolean();
  std::string text() { return std::string(take(u64())); }
  std::vector<std::string> texts();
  /// Throws ExecutionError if bytes are left over.
  void finish() const;

 private:
  std::string_view take(std::uint64_t size);
  std::uint64_t integer(int width);
  std::string_view rest_;
};

}  // namespace ionian::wire
