// quarantine.hpp: what a health file says: why a GPU is not granted, and when it is probed again.
// Pure, but for the boot id.
//
// One file per GPU, "health-GPU-…", empty for one that is well. As with every file in the lock
// directory, its content decides nothing for good: it says when to probe, and the probe decides.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/syscall.hpp"
#include "ionian/lease.hpp"

namespace ionian {

struct QuarantineRecord {
  Quarantine quarantine;
  std::string boot;                // id of the boot in which it was last probed
  std::int64_t probed_ns = 0;      // CLOCK_MONOTONIC nanoseconds
  std::uint32_t faults = 1;        // probes in a row that found a fault, the finding counted
  std::uint64_t memory_bytes = 0;  // used memory up to which nothing counts as left; 0: not known
  bool operator==(const QuarantineRecord&) const = default;

  [[nodiscard]] std::string to_string() const;
  /// Returns nullopt for an empty file, and for whatever is no record: that GPU is not quarantined.
  static std::optional<QuarantineRecord> parse(std::string_view text);
};

/// Returns when a quarantined GPU is to be probed: after the pause that stands at its number of
/// faults, the last one for good; at once if the machine has booted since, or if the record is from
/// the future.
sys::TimePoint next_probe(const QuarantineRecord& record,
                          const std::vector<std::chrono::milliseconds>& pauses,
                          std::string_view boot, sys::TimePoint now);

/// Returns whether something is left on a GPU that nobody holds, as a phrase: processes, or memory
/// beyond `baseline_bytes` that no process and no screen accounts for. "" if nothing is.
std::string what_is_left(const DeviceHealth& health, std::uint64_t baseline_bytes);

/// Returns the id of this boot of the machine, "" if the kernel does not say.
const std::string& boot_id();

}  // namespace ionian
