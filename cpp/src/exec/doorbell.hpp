// doorbell.hpp: one word that all workers of a caller ring when they have published a reply.
//
// The caller may wait for many workers at once, so the futex is the caller's, not the ring's. A
// ring costs one atomic add; the system call is made only when somebody sleeps.
#pragma once

#include <chrono>
#include <cstdint>

#include "base/futex.hpp"
#include "base/syscall.hpp"

namespace ionian {

class Doorbell {
 public:
  static constexpr std::size_t kBytes = 4096;

  /// Makes the caller's doorbell.
  Doorbell() : fd_(sys::sealed_memory("ionian-doorbell", kBytes)), mapping_(fd_.get(), kBytes) {}
  /// Maps the doorbell of a peer. Throws ExecutionError if the memory is not sealed.
  explicit Doorbell(int peer_fd) {
    sys::check_sealed(peer_fd, kBytes);
    mapping_ = sys::Mapping(peer_fd, kBytes);
  }

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  /// Returns the number of rings so far; changes whenever something may have happened.
  [[nodiscard]] std::uint32_t count() const { return page().rings.load(std::memory_order_seq_cst); }

  void ring() {
    page().rings.fetch_add(1, std::memory_order_seq_cst);
    if (page().sleepers.load(std::memory_order_seq_cst) != 0) futex_wake(page().rings);
  }

  /// Spins until `count()` is no longer `seen` or `limit` is over. Returns whether it changed.
  [[nodiscard]] bool spin(std::uint32_t seen, std::chrono::nanoseconds limit) const {
    const auto until = sys::Clock::now() + limit;
    do {
      for (int i = 0; i < 32; ++i) {
        if (page().rings.load(std::memory_order_acquire) != seen) return true;
        cpu_relax();
      }
    } while (sys::Clock::now() < until);
    return false;
  }

  /// Sleeps until `count()` is no longer `seen`, at most `timeout`; a signal ends it too. Returns
  /// whether it changed.
  bool wait(std::uint32_t seen, std::chrono::nanoseconds timeout) {
    page().sleepers.fetch_add(1, std::memory_order_seq_cst);
    if (count() == seen) futex_wait(page().rings, seen, timeout);
    page().sleepers.fetch_sub(1, std::memory_order_seq_cst);
    return count() != seen;
  }

 private:
  struct Page {
    alignas(128) FutexWord rings;
    alignas(128) FutexWord sleepers;
  };
  [[nodiscard]] Page& page() const noexcept { return *reinterpret_cast<Page*>(mapping_.data()); }

  UniqueFd fd_;
  sys::Mapping mapping_;
};

}  // namespace ionian
