// queue_order.hpp: who stands in the queue, in a line each, so that nobody has to open every ticket
// to know whose turn it is. What is written down can be old or cut off; the tickets decide.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ionian {

/// A request's place. Its ticket may be gone by now.
struct QueuePlace {
  std::uint64_t number = 0;  // of the request: the order of the queue
  std::size_t slot = 0;      // of its ticket
  bool nested = false;       // calls that hold GPUs wait for it
  bool operator==(const QueuePlace&) const = default;
};

/// Returns the text of `order`, which is sorted by number.
std::string to_string(const std::vector<QueuePlace>& order);
/// Returns what stands before the lines in a text: 16 hexadecimal digits.
std::string queue_checksum(std::string_view lines);
/// Returns what the text says, sorted by number; nullopt unless it is whole and well-formed.
std::optional<std::vector<QueuePlace>> parse_queue_order(std::string_view text);

}  // namespace ionian
