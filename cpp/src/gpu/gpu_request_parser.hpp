// gpu_request_parser.hpp: one item of a request, read strictly, and the nearest item that is valid.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>

#include "ionian/gpu_request.hpp"

namespace ionian::gpu_request_parser {

/// Where and why a text is not an item.
struct Fault {
  std::size_t position = 0;  // of the first byte that does not fit, at most the size of the text
  std::size_t length = 0;    // of what was read there; 0 at the end of the text
  std::string expected;
};

/// Returns the item that `text` spells, or the first fault. Never throws on any bytes. Linear time.
std::variant<GpuRequestItem, Fault> read_item(std::string_view text);

/// Returns a valid spelling near to `text`, which is not valid; "" if nothing is near. Commas give
/// the spelling of a list. Bounded time: a long text has no suggestion.
std::string suggest(std::string_view text);

}  // namespace ionian::gpu_request_parser
