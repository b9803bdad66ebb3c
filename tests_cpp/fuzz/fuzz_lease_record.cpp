// Lock and ticket files as other users may write them: read or ignored, and the same when written
// again.
#include <string>

#include "fuzz/fuzz.hpp"
#include "lease/lease_record.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using ionian::LeaseRecord;
  using ionian::fuzz::require;
  const auto text = ionian::fuzz::as_text(data, size);
  const auto first = LeaseRecord::parse(text);
  if (!first) return 0;
  require(first->wishes.size() <= 64, "wishes are bounded");
  const std::string written = first->to_string();
  for (const char c : written) {
    require(c == '\n' || static_cast<unsigned char>(c) >= 0x20, "no control character is kept");
  }
  require(LeaseRecord::parse(written) == first, "parse(format(x)) == x");
  return 0;
}
