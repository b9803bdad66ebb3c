#include "exec/retry_policy.hpp"

#include <cmath>

namespace ionian {

std::optional<std::chrono::nanoseconds> next_attempt(const RetryPolicy& policy,
                                                     std::uint32_t attempts, CallFailure why) {
  switch (why) {
    case CallFailure::kRaised:
    case CallFailure::kTimedOut:
    case CallFailure::kWorkerDied:
      break;
    case CallFailure::kNotStarted:
    case CallFailure::kRefused:
      return std::nullopt;
  }
  if (attempts > policy.max_retries) return std::nullopt;
  const double initial = static_cast<double>(policy.initial_delay.count());
  const double most = static_cast<double>(policy.max_delay.count());
  const double delay = initial * std::pow(policy.backoff_coefficient, attempts - 1.0);
  // Written so that a power beyond all numbers is capped too; 0 times that is no number, and means
  // 0.
  if (std::isnan(delay)) return std::chrono::nanoseconds(0);
  return std::chrono::nanoseconds(static_cast<std::int64_t>(delay < most ? delay : most));
}

}  // namespace ionian
