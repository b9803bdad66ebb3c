#include "ionian/gpu_request.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "gpu/gpu_request_parser.hpp"
#include "gpu/text.hpp"
#include "ionian/catalog.hpp"
#include "ionian/error.hpp"

namespace ionian {
namespace {

using Item = GpuRequestItem;

// With these the first line of a message stays below 200 characters whatever the input.
constexpr std::size_t kOriginLimit = 36;
constexpr std::size_t kReadLimit = 20;
constexpr std::size_t kSuggestionLimit = 40;

constexpr std::string_view kGrammar =
    "Write TYPE or TYPE:COUNT, as in \"H100:2\", or a list of them in order of preference. TYPE is "
    "a "
    "model (T4, L4, A10G, L40S, A100-40GB, A100-80GB, RTX-PRO-6000, H100, H200, B200, B300, "
    "RTX4090, "
    "...), a memory size (\"40GB\" or more), \"any\", or a UUID.";

constexpr std::array<std::pair<GpuMatch, std::string_view>, 4> kMatches{
    {{GpuMatch::kExact, "exact"},
     {GpuMatch::kUpgrade, "upgrade"},
     {GpuMatch::kAtLeast, "at-least"},
     {GpuMatch::kPretend, "pretend"}}};

/// Throws for `text`, the fault in which is `fault`. `place` is "" or " item 2 of 3".
[[noreturn]] void reject(std::string_view text, const gpu_request_parser::Fault& fault,
                         const std::string& place) {
  const std::string suggestion = gpu_request_parser::suggest(text);
  std::string message = "[gpu=" + text::quoted(text, kOriginLimit) + place + "] at byte " +
                        std::to_string(fault.position) + ": expected " + fault.expected + ", got ";
  message += fault.length == 0
                 ? "the end"
                 : text::quoted(text.substr(fault.position, fault.length), kReadLimit);
  if (!suggestion.empty() && suggestion.size() <= kSuggestionLimit) {
    message +=
        "; did you mean " + (suggestion[0] == '[' ? suggestion : '"' + suggestion + '"') + '?';
  }
  message += '\n';
  message += kGrammar;
  throw GpuRequestError(message, std::string(text), fault.position, suggestion);
}

Item read(std::string_view text, const std::string& place) {
  auto result = gpu_request_parser::read_item(text);
  if (auto* item = std::get_if<Item>(&result)) return std::move(*item);
  reject(text, std::get<gpu_request_parser::Fault>(result), place);
}

bool is_mig(const Device& device) { return device.uuid.rfind("MIG-", 0) == 0; }

bool grants(const GpuModel& asked, std::string_view type) {
  return std::find(asked.grants.begin(), asked.grants.end(), type) != asked.grants.end();
}

/// Returns whether `device` is what `asked` names and no upgrade of it. A name for requests only
/// ("A100") means any of the sizes that it stands for.
bool is_exactly(const GpuModel& asked, const Device& device) {
  return device.type == asked.type || (asked.nvml_names.empty() && grants(asked, device.type));
}

std::pair<int, int> compute(const GpuModel& model) {
  return {model.compute_major, model.compute_minor};
}
std::pair<int, int> compute(const Device& device) {
  return {device.compute_major, device.compute_minor};
}

/// Returns whether `device` comes after `asked` in its line: newer, or the same age with more
/// memory, and never with less.
bool is_newer(const GpuModel& asked, const Device& device) {
  const GpuModel* model = model_of(device);
  return model != nullptr && model->family == asked.family && model->memory_gb >= asked.memory_gb &&
         std::pair(compute(*model), model->memory_gb) > std::pair(compute(asked), asked.memory_gb);
}

bool accepts_model(const Item& item, const GpuModel& asked, const Device& device, GpuMatch match) {
  if (is_mig(device)) return false;  // a slice is not the model that it was cut from
  if (is_exactly(asked, device)) return true;
  switch (item.binding) {
    case Item::Binding::kExactly:
      return false;
    case Item::Binding::kOrNewer:
      if (grants(asked, device.type) || is_newer(asked, device)) return true;
      break;
    case Item::Binding::kDefault:
      if (match != GpuMatch::kExact && grants(asked, device.type)) return true;
      break;
  }
  return match == GpuMatch::kAtLeast && memory_gb(device) >= asked.memory_gb &&
         compute(device) >= compute(asked);
}

bool accepts_memory(const Item& item, const Device& device) {
  const std::uint32_t size = memory_gb(device);
  return item.binding == Item::Binding::kExactly ? size == item.memory_gb : size >= item.memory_gb;
}

}  // namespace

GpuMatch parse_gpu_match(std::string_view name) {
  for (const auto& [match, spelling] : kMatches) {
    if (name == spelling) return match;
  }
  throw InvalidError(
      "[gpu match] expected \"exact\", \"upgrade\", \"at-least\" or \"pretend\", got " +
      text::quoted(name, kOriginLimit));
}

std::string_view to_string(GpuMatch match) {
  for (const auto& [each, spelling] : kMatches) {
    if (each == match) return spelling;
  }
  return "upgrade";
}

std::string GpuRequestItem::to_string() const {
  std::string text = type;
  if (binding == Binding::kExactly) text += '!';
  if (binding == Binding::kOrNewer) text += '+';
  if (count != 1) text += ':' + std::to_string(count);
  return text;
}

bool GpuRequestItem::accepts(const Device& device, GpuMatch match) const {
  if (kind == Kind::kUuid) return text::equal_ignoring_case(type, device.uuid);
  if (is_mig(device) && count > 1)
    return false;  // a process sees one slice, and slices have no links
  if (kind == Kind::kAny || match == GpuMatch::kPretend) return true;
  if (kind == Kind::kMemory) return accepts_memory(*this, device);
  const GpuModel* asked = find_model(type);
  return asked != nullptr && accepts_model(*this, *asked, device, match);
}

GpuRequest GpuRequest::parse(std::string_view text) {
  GpuRequest request;
  request.items_.push_back(read(text, ""));
  return request;
}

GpuRequest GpuRequest::parse(const std::vector<std::string>& texts) {
  if (texts.empty() || texts.size() > kMaxAlternatives) {
    throw GpuRequestError("[gpu=list] expected 1 to " + std::to_string(kMaxAlternatives) +
                              " alternatives in order of preference, got " +
                              std::to_string(texts.size()) + "; for no GPU at all write None",
                          "", 0, "");
  }
  GpuRequest request;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const std::string place = texts.size() == 1 ? ""
                                                : " item " + std::to_string(i + 1) + " of " +
                                                      std::to_string(texts.size());
    request.items_.push_back(read(texts[i], place));
  }
  return request;
}

std::string GpuRequest::to_string() const {
  if (items_.size() == 1) return items_.front().to_string();
  std::string text = "[";
  for (const auto& item : items_) {
    if (text.size() > 1) text += ", ";
    text += item.to_string();
  }
  return text + "]";
}

}  // namespace ionian
