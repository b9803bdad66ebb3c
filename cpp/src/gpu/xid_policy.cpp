#include "gpu/xid_policy.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "gpu/text.hpp"
#include "ionian/error.hpp"

namespace ionian {
namespace {

using enum XidSeverity;
using enum XidAction;

// Meanings and actions follow NVIDIA's "Xid Catalog" (docs.nvidia.com/deploy/xid-errors,
// "Analyzing Xid Errors with the Xid Catalog"); the comment behind each row is its resolution
// bucket, the immediate action. NVIDIA's Kubernetes device plugin has 13, 31, 43, 45, 68 and 109 as
// "application errors: the GPU should still be healthy", and takes the GPU away for everything
// else. We differ where the comment says so.
constexpr std::array kTable{
    XidRule{8, kApplication, kRestartWorker, "GPU stopped processing"},  // RESTART_APP
    XidRule{11, kApplication, kRestartWorker,
            "invalid or corrupted command stream"},                       // RESTART_APP
    XidRule{13, kApplication, kRestartWorker, "exception in a kernel"},   // RESTART_APP
    XidRule{25, kApplication, kRestartWorker, "illegal command stream"},  // RESTART_APP
    XidRule{31, kApplication, kRestartWorker, "GPU memory page fault"},   // RESTART_APP
    XidRule{32, kApplication, kRestartWorker,
            "invalid or corrupted command stream"},                       // RESTART_APP
    XidRule{43, kApplication, kRestartWorker, "GPU stopped processing"},  // IGNORE
    // A program that is killed, also by us, ends with 45: alone it says nothing about the GPU.
    XidRule{45, kApplication, kRestartWorker, "clean-up after earlier errors"},  // follow the other
    XidRule{46, kFatal, kResetGpu, "GPU stopped processing"},                    // RESET_GPU
    XidRule{48, kFatal, kResetGpu, "double-bit ECC error"},     // WORKFLOW_XID_48: reset
    XidRule{62, kFatal, kResetGpu, "micro-controller halted"},  // RESET_GPU
    // IGNORE for the work under way; the new row takes effect at the next reset, so the probe asks
    // whether one is pending.
    XidRule{63, kDrain, kProbe, "a memory row is marked for remapping"},
    XidRule{64, kFatal, kResetGpu, "remapping a memory row failed"},            // RESET_GPU
    XidRule{66, kApplication, kRestartWorker, "illegal access by the driver"},  // IGNORE
    XidRule{68, kApplication, kRestartWorker, "video decoder exception"},       // RESTART_APP
    XidRule{69, kApplication, kRestartWorker, "graphics engine class error"},   // RESTART_APP
    XidRule{74, kFatal, kCheckNvlink, "NVLink error"},           // WORKFLOW_NVLINK_ERR
    XidRule{79, kFatal, kReboot, "GPU has fallen off the bus"},  // RESTART_BM: reboot the machine
    XidRule{92, kIgnore, kNone, "many single-bit ECC errors"},   // IGNORE
    XidRule{93, kIgnore, kNone, "InfoROM wear limit reached"},   // IGNORE
    // RESTART_APP: only the program that met the error ends. The probe asks for what it left.
    XidRule{94, kFatal, kProbe, "contained memory error"},
    XidRule{95, kFatal, kResetGpu, "uncontained memory error"},  // RESET_GPU
    // RESET_GPU in the catalog, an application error for the device plugin: the probe decides.
    XidRule{109, kApplication, kRestartWorker, "context switch timed out"},
    XidRule{110, kFatal, kResetGpu, "security fault"},                     // RESET_GPU
    XidRule{119, kFatal, kResetGpu, "GSP firmware does not answer"},       // RESET_GPU
    XidRule{120, kFatal, kResetGpu, "GSP firmware error"},                 // RESET_GPU
    XidRule{121, kIgnore, kNone, "corrected error between the chips"},     // IGNORE
    XidRule{136, kFatal, kResetGpu, "link training failed"},               // RESET_GPU
    XidRule{137, kApplication, kRestartWorker, "NVLink privilege error"},  // IGNORE
    XidRule{140, kFatal, kResetGpu, "unrecovered ECC error"},              // RESET_GPU
    XidRule{143, kFatal, kResetGpu, "GPU did not initialise"},             // RESET_GPU
    XidRule{144, kFatal, kCheckNvlink, "NVLink error"},  // 144 to 150: WORKFLOW_NVLINK5_ERR
    XidRule{145, kFatal, kCheckNvlink, "NVLink error"},
    XidRule{146, kFatal, kCheckNvlink, "NVLink error"},
    XidRule{147, kFatal, kCheckNvlink, "NVLink error"},
    XidRule{148, kFatal, kCheckNvlink, "NVLink error"},
    XidRule{149, kFatal, kCheckNvlink, "NVLink error"},
    XidRule{150, kFatal, kCheckNvlink, "NVLink error"},
    // News about another Xid, which decides about the call; the probe asks for the action.
    XidRule{154, kDrain, kProbe, "the driver wants a recovery action"},
    XidRule{155, kFatal, kResetGpu, "NVLink error"},                    // RESET_GPU
    XidRule{156, kDrain, kResetGpu, "a part of the GPU was retired"},   // RESET_GPU
    XidRule{157, kIgnore, kNone, "retiring a part of the GPU failed"},  // IGNORE
    XidRule{158, kFatal, kResetGpu, "fatal timeout"},                   // RESET_GPU
    XidRule{160, kIgnore, kNone, "a memory channel was retired"},       // IGNORE
    XidRule{161, kIgnore, kNone, "retiring a memory channel failed"},   // IGNORE
    XidRule{162, kIgnore, kNone, "power smoothing is on again"},        // no action
    XidRule{163, kIgnore, kNone, "power smoothing is off"},             // no action
    XidRule{164, kIgnore, kNone, "power smoothing nears its end"},      // no action
    XidRule{165, kIgnore, kNone, "power smoothing is worn out"},        // no action
    XidRule{171, kFatal, kResetGpu, "uncorrectable DRAM error"},        // says more about 48
    XidRule{172, kFatal, kResetGpu, "uncorrectable SRAM error"},        // says more about 48
};
static_assert(std::is_sorted(kTable.begin(), kTable.end(),
                             [](const XidRule& a, const XidRule& b) { return a.xid < b.xid; }));

constexpr std::array<std::pair<std::string_view, XidSeverity>, 4> kSeverities{
    {{"ignore", kIgnore}, {"application", kApplication}, {"drain", kDrain}, {"fatal", kFatal}}};

[[noreturn]] void refuse(std::string_view item) {
  throw InvalidError("[IONIAN_XID_POLICY] got " + text::quoted(item, 40) +
                     "; expected XID=ignore, application, drain or fatal, joined by commas, as in "
                     "\"94=application,109=fatal\"");
}

}  // namespace

std::span<const XidRule> xid_table() { return kTable; }

XidRule classify(std::uint32_t xid, const XidOverrides& overrides) {
  const auto found =
      std::lower_bound(kTable.begin(), kTable.end(), xid,
                       [](const XidRule& rule, std::uint32_t wanted) { return rule.xid < wanted; });
  XidRule rule{xid, kDrain, kProbe, "an error that ionian does not know"};
  if (found != kTable.end() && found->xid == xid) rule = *found;
  if (const auto own = overrides.find(xid); own != overrides.end()) rule.severity = own->second;
  return rule;
}

XidOverrides parse_xid_overrides(std::string_view text) {
  XidOverrides overrides;
  while (!text.empty()) {
    const std::string_view item = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), item.size() + 1));
    const std::size_t equals = item.find('=');
    std::uint32_t xid = 0;
    const auto [end, error] = std::from_chars(item.data(), item.data() + item.size(), xid);
    if (error != std::errc{} || end != item.data() + std::min(equals, item.size())) refuse(item);
    const std::string_view word = equals == std::string_view::npos ? "" : item.substr(equals + 1);
    const auto severity = std::find_if(kSeverities.begin(), kSeverities.end(),
                                       [&](const auto& each) { return each.first == word; });
    if (severity == kSeverities.end()) refuse(item);
    overrides[xid] = severity->second;
  }
  return overrides;
}

std::string_view advice(XidAction action) {
  switch (action) {
    case kNone:
      return "nothing needs to be done";
    case kRestartWorker:
      return "the worker is replaced; look for an out-of-bounds access in the program";
    case kProbe:
      return "ionian grants it again once the driver finds nothing wrong with it";
    case kResetGpu:
      return "reset it: `nvidia-smi --gpu-reset -i UUID` as root, with no process on it, or reboot";
    case kCheckNvlink:
      return "look at `nvidia-smi nvlink --status`, then reset the GPUs on that link, or reboot";
    case kReboot:
      return "reboot the machine; if it comes again, have power, cooling and the slot looked at";
  }
  return "";
}

std::string_view name(XidAction action) {
  switch (action) {
    case kNone:
      return "none";
    case kRestartWorker:
      return "restart";
    case kProbe:
      return "probe";
    case kResetGpu:
      return "reset";
    case kCheckNvlink:
      return "nvlink";
    case kReboot:
      return "reboot";
  }
  return "";
}

}  // namespace ionian
