// What is said of a request that is none, one item a line: position, message and suggestion.
// Searching the catalog for what was meant takes a thousand times as long as reading, hence a
// target of its own.
#include <algorithm>
#include <string>
#include <vector>

#include "fuzz/fuzz.hpp"
#include "gpu/text.hpp"
#include "ionian/error.hpp"
#include "ionian/gpu_request.hpp"
#include "support/gpu_request_grammar.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using ionian::GpuRequest;
  using ionian::fuzz::require;
  using ionian::testing::is_gpu_request;
  std::vector<std::string> items;
  for (const auto part : ionian::text::split(ionian::fuzz::as_text(data, size), '\n'))
    items.emplace_back(part);
  const bool valid = items.size() <= GpuRequest::kMaxAlternatives &&
                     std::all_of(items.begin(), items.end(), is_gpu_request);
  try {
    const GpuRequest request = GpuRequest::parse(items);
    require(valid, "a list is accepted only if every item is");
    require(request.alternatives().size() == items.size(), "no alternative is lost");
  } catch (const ionian::GpuRequestError& error) {
    require(!valid, "a list of valid items is accepted");
    const std::string message = error.what();
    require(error.position <= size, "the position of a fault lies inside the text");
    require(std::min(message.find('\n'), message.size()) < 200, "the first line is short");
    for (const char c : message)
      require(c == '\n' || (c >= 0x20 && c < 0x7f), "a message is plain ASCII");
    require(error.suggestion.empty() || error.suggestion.front() == '[' ||
                is_gpu_request(error.suggestion),
            "a suggestion is itself valid");
  }
  return 0;
}
