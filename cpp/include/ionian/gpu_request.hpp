// gpu_request.hpp: what `gpu=` means. Parsing and matching are pure.
//
//   request := item | [item, item, ...]             a list is an order of preference
//   item    := type [ "!" | "+" ] [ ":" count ]     case-insensitive, no spaces
//   type    := a model of the catalog | memory size ("40GB") | "any" | GPU-<uuid> | MIG-<uuid>
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ionian/device.hpp"

namespace ionian {

/// How strictly names bind on own hardware (`IONIAN_GPU_MATCH`, `--gpu-match`).
enum class GpuMatch {
  kExact,    // the model asked for and no other; A100 is either size
  kUpgrade,  // default: H100 may be an H200, A100 an A100-80GB, as on the service
  kAtLeast,  // any GPU with as much memory and as new an architecture
  kPretend,  // any GPU at all, "!" or not; a UUID is still that one GPU
};
/// Returns the match called `name` ("exact", "upgrade", "at-least", "pretend"). Throws
/// InvalidError.
GpuMatch parse_gpu_match(std::string_view name);
std::string_view to_string(GpuMatch match);

/// One alternative of a request: `count` GPUs of one model on one machine, all or nothing.
struct GpuRequestItem {
  enum class Kind { kModel, kMemory, kAny, kUuid };
  enum class Binding { kDefault, kExactly, kOrNewer };  // "", "!", "+"

  Kind kind = Kind::kAny;
  std::string type = "any";  // canonical: "A10G", "40GB", "any", or the UUID
  Binding binding = Binding::kDefault;
  int count = 1;
  std::uint32_t memory_gb = 0;  // kMemory only

  /// Returns the canonical spelling, e.g. "H100!:4"; ":1" is left out.
  [[nodiscard]] std::string to_string() const;
  /// Returns whether `device` may serve this item under `match`; says nothing of its health. "!"
  /// and
  /// "+" hold under every match but kPretend. A slice (MIG) serves "any", a memory size or its own
  /// UUID, and no gang.
  [[nodiscard]] bool accepts(const Device& device, GpuMatch match) const;
  auto operator<=>(const GpuRequestItem&) const = default;
};

/// Alternatives in order of preference; never empty.
class GpuRequest {
 public:
  /// Parses one item. Throws GpuRequestError with position, what was read, what was expected and
  /// the nearest valid spelling.
  static GpuRequest parse(std::string_view text);
  static constexpr std::size_t kMaxAlternatives = 64;
  /// Parses a list. Throws GpuRequestError, also for an empty list and for more than
  /// kMaxAlternatives.
  static GpuRequest parse(const std::vector<std::string>& texts);

  [[nodiscard]] const std::vector<GpuRequestItem>& alternatives() const noexcept { return items_; }
  /// Returns "H100:2" for one alternative, "[H100:2, A100-80GB:4]" for several.
  [[nodiscard]] std::string to_string() const;
  bool operator==(const GpuRequest&) const = default;

 private:
  std::vector<GpuRequestItem> items_;
};

}  // namespace ionian
