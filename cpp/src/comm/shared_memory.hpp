// shared_memory.hpp: the pages that ranks over shared memory meet in.
//
// Nothing has a name: the maker of an id keeps a sealed memfd until all have joined, and every rank
// brings one of its own; others open them as /proc/<pid>/fd/<n>, which the kernel allows the same
// user only. After that no descriptor is left, and the pages live as long as somebody maps them.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "base/futex.hpp"
#include "base/syscall.hpp"

namespace ionian::shared_memory {

inline constexpr int kMostRanks = 64;
inline constexpr std::size_t kSlotBytes = std::size_t{1} << 20;   // of a collective's chunk
inline constexpr std::size_t kMailBytes = std::size_t{64} << 10;  // of a message's chunk
inline constexpr std::uint32_t kMagic = 0x49434f4d;               // "ICOM"
inline constexpr std::size_t kKeyBytes = 16;

/// What a rank calls, for the others to compare with what they call.
struct CallFields {
  std::uint64_t sequence = 0;
  std::int64_t elements = 0;
  std::int32_t peer = 0;
  std::uint8_t kind = 0;
  std::uint8_t op = 0;
  std::uint8_t dtype = 0;
};

enum class Presence : std::uint32_t { kAbsent, kJoining, kJoined, kLeft };

struct alignas(128) RankState {
  std::atomic<Presence> presence;
  FutexWord bell;   // rung by the others whenever something may have changed for this rank
  FutexWord phase;  // how many steps of collectives this rank has finished
  std::int32_t pages_fd;
  std::int64_t pid;
  std::uint64_t start_time;
  CallFields call;
};

struct Control {
  std::uint32_t magic;
  std::atomic<std::uint32_t> aborted;
  std::atomic<std::int32_t> world_size;
  std::uint8_t key[kKeyBytes];  // NOLINT: in shared memory
  RankState ranks[kMostRanks];  // NOLINT
};

/// A message from one rank to another, chunk by chunk.
struct alignas(128) Mailbox {
  FutexWord full;
  std::uint8_t dtype;
  std::int64_t elements;       // of the whole message
  std::byte data[kMailBytes];  // NOLINT
};

/// A process as the kernel knows it: a number alone can be given to another one.
struct ProcessId {
  std::int64_t pid = 0;
  std::uint64_t start_time = 0;
};
ProcessId this_process();
/// Returns whether it still runs; a zombie does not.
bool is_alive(const ProcessId& process);

/// Makes the control pages and returns the id that names them. They are kept until `forget`.
std::string make_control();
/// Opens what an id names. Throws InvalidError, ConnectionError.
sys::Mapping open_control(const std::string& id);
/// Lets go of the control pages where this process made them.
void forget(const std::string& id);

inline std::size_t pages_bytes(int world_size) {
  return static_cast<std::size_t>(world_size) * sizeof(Mailbox) + kSlotBytes;
}
/// Opens the pages that another rank brought.
sys::Mapping open_pages(std::int64_t pid, int fd, std::size_t bytes);

}  // namespace ionian::shared_memory
