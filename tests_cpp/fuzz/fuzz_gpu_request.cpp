// The parser of `gpu=` against an independent reading of its grammar.
#include <string>
#include <variant>

#include "fuzz/fuzz.hpp"
#include "gpu/gpu_request_parser.hpp"
#include "ionian/gpu_request.hpp"
#include "support/gpu_request_grammar.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using ionian::GpuRequest;
  using ionian::GpuRequestItem;
  using ionian::fuzz::require;
  const std::string text(ionian::fuzz::as_text(data, size));
  const auto read = ionian::gpu_request_parser::read_item(text);
  const auto* item = std::get_if<GpuRequestItem>(&read);
  require((item != nullptr) == ionian::testing::is_gpu_request(text),
          "the parser accepts exactly what the grammar has");
  if (item == nullptr) {
    const auto& fault = std::get<ionian::gpu_request_parser::Fault>(read);
    require(fault.position <= text.size() && fault.length <= text.size() - fault.position,
            "what a fault names lies inside the text");
    require(!fault.expected.empty(), "a fault says what was expected");
    return 0;
  }
  require(item->count >= 1, "a count is at least 1");
  const GpuRequest request = GpuRequest::parse(text);
  require(request.alternatives().size() == 1 && request.alternatives().front() == *item,
          "a request of one item is that item");
  require(GpuRequest::parse(request.to_string()) == request, "parse(format(x)) == x");
  return 0;
}
