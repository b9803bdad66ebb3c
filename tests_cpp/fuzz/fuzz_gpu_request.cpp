// The parser of `gpu=` against an independent reading of its grammar.
#include <algorithm>
#include <string>
#include <variant>
#include <vector>

#include "fuzz/fuzz.hpp"
#include "gpu/gpu_request_parser.hpp"
#include "gpu/text.hpp"
#include "ionian/error.hpp"
#include "ionian/gpu_request.hpp"
#include "support/gpu_request_grammar.hpp"

namespace {

using ionian::GpuRequest;
using ionian::fuzz::require;

bool first_line_is_short(const std::string& message) {
  return std::min(message.find('\n'), message.size()) < 200;
}

void check_rejection(const std::string& text, const ionian::GpuRequestError& error) {
  const std::string message = error.what();
  require(error.position <= text.size(), "the position of a fault lies inside the text");
  require(first_line_is_short(message), "the first line of a message is short");
  for (const char c : message) {
    require(c == '\n' || (c >= 0x20 && c < 0x7f), "a message is plain ASCII");
  }
  if (!error.suggestion.empty() && error.suggestion.front() != '[') {
    require(ionian::testing::is_gpu_request(error.suggestion), "a suggestion is itself valid");
  }
}

void check_item(const std::string& text) {
  const auto read = ionian::gpu_request_parser::read_item(text);
  const bool accepted = std::holds_alternative<ionian::GpuRequestItem>(read);
  require(accepted == ionian::testing::is_gpu_request(text),
          "the parser accepts exactly what the grammar has");
  if (const auto* fault = std::get_if<ionian::gpu_request_parser::Fault>(&read)) {
    require(fault->position <= text.size() && fault->length <= text.size() - fault->position,
            "what a fault names lies inside the text");
  }
  try {
    const GpuRequest request = GpuRequest::parse(text);
    require(accepted, "what read_item refuses is refused");
    require(GpuRequest::parse(request.to_string()) == request, "parse(format(x)) == x");
    require(request.alternatives().size() == 1, "one item is one alternative");
    require(request.alternatives().front().count >= 1, "a count is at least 1");
  } catch (const ionian::GpuRequestError& error) {
    require(!accepted, "what read_item accepts is accepted");
    check_rejection(text, error);
  }
}

/// The same text as a list, one item a line.
void check_list(std::string_view text) {
  std::vector<std::string> items;
  bool valid = true;
  for (const auto part : ionian::text::split(text, '\n')) {
    items.emplace_back(part);
    valid = valid && ionian::testing::is_gpu_request(items.back());
  }
  valid = valid && items.size() <= GpuRequest::kMaxAlternatives;
  try {
    const GpuRequest request = GpuRequest::parse(items);
    require(valid, "a list is accepted only if every item is");
    require(request.alternatives().size() == items.size(), "no alternative is lost");
  } catch (const ionian::GpuRequestError& error) {
    require(!valid, "a list of valid items is accepted");
    require(first_line_is_short(error.what()), "the first line is short");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(ionian::fuzz::as_text(data, size));
  check_item(text);
  if (text.find('\n') != std::string::npos) check_list(text);
  return 0;
}
