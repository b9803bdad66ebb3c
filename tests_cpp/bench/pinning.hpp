// pinning.hpp: where the two sides of a round trip run: on two cores, or both on one.
#pragma once

#include <sched.h>

#include <vector>

namespace ionian::bench {

/// Returns the processors that this thread may use.
inline std::vector<int> usable_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  ::sched_getaffinity(0, sizeof(set), &set);
  std::vector<int> found;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) found.push_back(cpu);
  }
  return found;
}

inline void bind_to(const std::vector<int>& processors) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : processors) CPU_SET(cpu, &set);
  ::sched_setaffinity(0, sizeof(set), &set);
}

/// Binds this thread while it lives; `other()` is where the far side goes.
class Pinning {
 public:
  enum Kind { kSpread = 0, kOneCore = 1 };

  explicit Pinning(Kind kind) : before_(usable_processors()) {
    mine_ = before_.front();
    other_ = kind == kSpread ? before_.back() : mine_;
    bind_to({mine_});
  }
  ~Pinning() { bind_to(before_); }
  Pinning(const Pinning&) = delete;
  Pinning& operator=(const Pinning&) = delete;

  [[nodiscard]] int other() const noexcept { return other_; }
  /// Returns whether there were two cores to spread over.
  [[nodiscard]] bool spread() const noexcept { return other_ != mine_; }

 private:
  std::vector<int> before_;
  int mine_ = 0;
  int other_ = 0;
};

}  // namespace ionian::bench
