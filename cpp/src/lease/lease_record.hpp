// lease_record.hpp: what lock and ticket files say: lines of "field value" that people can read.
//
// Files come from other users: whatever does not parse is nothing, never an error.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ionian/lease.hpp"

namespace ionian {

/// Who holds a GPU or stands in the queue; for the latter also what is waited for.
struct LeaseRecord {
  struct Wish {
    std::string item;                // "H100:2"
    std::vector<std::string> uuids;  // the GPUs that may serve it
    bool operator==(const Wish&) const = default;
  };
  LeaseOwner owner;
  std::string gpu = {};           // locks: the model
  std::string left = {};          // locks that drain: what is still on the GPU
  std::int64_t draining_ns = 0;   // locks that drain: CLOCK_REALTIME nanoseconds, for display
  std::uint64_t number = 0;       // tickets: the place in the queue
  std::vector<Wish> wishes;       // tickets: in order of preference
  std::vector<std::string> held;  // tickets: GPUs of the calls that wait for this request
  bool operator==(const LeaseRecord&) const = default;

  [[nodiscard]] std::string to_string() const;
  /// Returns what `text` says, nullopt if it is no record. Control characters become spaces, so
  /// that what another user wrote can be shown on a terminal; parse(to_string()) of the result is
  /// itself.
  static std::optional<LeaseRecord> parse(std::string_view text);
};

}  // namespace ionian
