// xid_watch.hpp: what the driver reports of GPUs while somebody holds them.
//
// A thread of its own waits in NVML, which may never return: nobody waits for that thread. It holds
// NVML open only as long as the object lives, and for up to a second more.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ionian {

struct GpuEvent {
  std::string uuid;  // as it was given
  std::uint32_t xid = 0;
  std::string trouble;  // without an Xid: the GPU, or MIG instance, is gone
  bool operator==(const GpuEvent&) const = default;
};

/// Move-only; the destructor leaves the thread to end by itself. Not thread-safe.
class XidWatch {
 public:
  /// Watches the GPUs with these UUIDs, or those that slices and MIG instances are of. Throws
  /// ResourceExhaustedError without a descriptor or a thread.
  explicit XidWatch(std::vector<std::string> uuids);
  ~XidWatch();
  XidWatch(XidWatch&&) noexcept;
  XidWatch& operator=(XidWatch&&) noexcept;

  /// Returns a descriptor that is readable while there are events.
  [[nodiscard]] int fd() const noexcept;
  /// Returns the next event, nullopt if there is none now.
  std::optional<GpuEvent> next();
  /// Returns whether the driver lets us watch; false also before the thread has asked. For tests.
  [[nodiscard]] bool watching() const;
  /// Returns whether threads of such objects still run: then a process must leave by _exit, since
  /// the driver's library is in use.
  static bool threads_left() noexcept;

  struct State;  // shared with the thread

 private:
  std::shared_ptr<State> state_;
};

}  // namespace ionian
