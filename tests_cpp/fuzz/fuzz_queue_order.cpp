// The order of the queue as anybody may write it: whole and sorted, or refused, and the same when
// written again. The checksum is put right, else no input would get past it.
#include <string>
#include <string_view>

#include "fuzz/fuzz.hpp"
#include "lease/queue_order.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using ionian::fuzz::require;
  const std::string lines(ionian::fuzz::as_text(data, size));
  const std::string head = "ionian queue 1 ";
  const auto order = ionian::parse_queue_order(head + ionian::queue_checksum(lines) + "\n" + lines);
  static_cast<void>(ionian::parse_queue_order(lines));
  if (!order) return 0;
  for (std::size_t i = 1; i < order->size(); ++i)
    require((*order)[i - 1].number < (*order)[i].number, "sorted by number");
  require(ionian::parse_queue_order(to_string(*order)) == order, "parse(format(x)) == x");
  return 0;
}
