// retry_policy.hpp: whether a call that failed is tried again, and when. Pure: values in, a delay
// out.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace ionian {

/// What `retries=` of a function says.
struct RetryPolicy {
  std::uint32_t max_retries = 0;  // beyond the first attempt
  double backoff_coefficient = 1.0;
  std::chrono::nanoseconds initial_delay = std::chrono::seconds(1);
  std::chrono::nanoseconds max_delay = std::chrono::seconds(60);
};

/// How an attempt failed.
enum class CallFailure {
  kRaised,      // the body raised
  kTimedOut,    // the body ran longer than its timeout
  kWorkerDied,  // its worker ended after the body was entered
  kNotStarted,  // worker after worker ended before that: the arguments kill who reads them
  kRefused,     // another attempt would fail the same way: what it was given or made cannot be sent
};

/// Returns how long to wait before the next attempt, nullopt if there is none. `attempts`: how
/// often the body has been entered, the attempt that failed included.
///
/// The wait before retry k is initial_delay * backoff_coefficient^(k-1), at most max_delay: with 1
/// s, 2.0 and 60 s it is 1, 2, 4, … 32, 60, 60 s.
std::optional<std::chrono::nanoseconds> next_attempt(const RetryPolicy& policy,
                                                     std::uint32_t attempts, CallFailure why);

}  // namespace ionian
