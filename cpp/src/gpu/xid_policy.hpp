// xid_policy.hpp: what an Xid, the driver's number of an error, means for a GPU. Pure.
//
// The table is data; a machine's owner can say otherwise with IONIAN_XID_POLICY.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

namespace ionian {

enum class XidSeverity {
  kIgnore,       // news: nothing is done
  kApplication,  // the program's fault: its worker is replaced, the GPU stays
  kDrain,        // the call goes on; afterwards the GPU is quarantined until a probe finds it well
  kFatal,        // the call ends with GpuUnhealthyError, and the GPU is quarantined
};

/// What makes a GPU usable again.
enum class XidAction { kNone, kRestartWorker, kProbe, kResetGpu, kCheckNvlink, kReboot };

struct XidRule {
  std::uint32_t xid = 0;
  XidSeverity severity = XidSeverity::kDrain;
  XidAction action = XidAction::kProbe;
  std::string_view meaning;  // a phrase
};

using XidOverrides = std::map<std::uint32_t, XidSeverity>;

/// Returns every Xid that we know, ascending.
std::span<const XidRule> xid_table();

/// Returns the rule for `xid`. One that nobody knows drains the GPU, and a probe decides.
XidRule classify(std::uint32_t xid, const XidOverrides& overrides = {});

/// Returns what `text` says, e.g. "94=application,109=fatal"; severities are ignore, application,
/// drain, fatal. Throws InvalidError naming the faulty item.
XidOverrides parse_xid_overrides(std::string_view text);

/// Returns what a person should do, as a sentence without its full stop.
std::string_view advice(XidAction action);
/// Returns the action in one word, for programs: "reset", "reboot", …
std::string_view name(XidAction action);

}  // namespace ionian
