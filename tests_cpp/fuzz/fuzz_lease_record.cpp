// Lock and ticket files as other users may write them: read or ignored, and stable once read.
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
  // Control characters inside fields become spaces, so only what was written by us is exact.
  const auto second = LeaseRecord::parse(written);
  require(second.has_value(), "what we write can be read");
  require(second->owner.pid == first->owner.pid && second->owner.uid == first->owner.uid &&
              second->owner.since_ns == first->owner.since_ns && second->number == first->number &&
              second->wishes.size() == first->wishes.size(),
          "numbers survive");
  require(LeaseRecord::parse(second->to_string()) == second, "parse(format(x)) == x");
  return 0;
}
