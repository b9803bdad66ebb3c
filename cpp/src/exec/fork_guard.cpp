#include "exec/fork_guard.hpp"

#include <pthread.h>

#include <atomic>

namespace ionian::fork_guard {
namespace {

std::atomic<std::uint64_t>& counter() {
  static std::atomic<std::uint64_t> count{0};
  static const int registered =
      ::pthread_atfork(nullptr, nullptr, [] { counter().fetch_add(1, std::memory_order_relaxed); });
  static_cast<void>(registered);
  return count;
}

}  // namespace

std::uint64_t generation() { return counter().load(std::memory_order_relaxed); }

}  // namespace ionian::fork_guard
