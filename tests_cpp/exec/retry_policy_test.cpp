#include "exec/retry_policy.hpp"

#include <gtest/gtest.h>

namespace ionian {
namespace {

using namespace std::chrono_literals;
using Delay = std::optional<std::chrono::nanoseconds>;

constexpr RetryPolicy kDoubling{100, 2.0, 1s, 60s};

TEST(RetryPolicy, NextAttempt_FollowsTheTable) {
  struct Row {
    const char* says;
    RetryPolicy policy;
    std::uint32_t attempts;
    Delay delay;
  };
  const Row rows[] = {
      {"no retries by default", {}, 1, std::nullopt},
      {"retries=2: the first", {2, 1.0, 1s, 60s}, 1, 1s},
      {"the second waits as long", {2, 1.0, 1s, 60s}, 2, 1s},
      {"the third attempt was the last", {2, 1.0, 1s, 60s}, 3, std::nullopt},
      {"the first delay is the initial one", kDoubling, 1, 1s},
      {"each is twice the one before", kDoubling, 2, 2s},
      {"each is twice the one before", kDoubling, 6, 32s},
      {"up to the longest", kDoubling, 7, 60s},
      {"up to the longest", kDoubling, 100, 60s},
      {"a power beyond all numbers is the longest too", {4000, 10.0, 1s, 60s}, 4000, 60s},
      {"an initial delay of 0 stays 0", {9, 2.0, 0s, 60s}, 9, 0s},
      {"also times a power beyond all numbers", {4000, 10.0, 0s, 60s}, 4000, 0s},
      {"the initial delay is capped too", {9, 1.0, 60s, 1s}, 1, 1s},
      {"delays may be fractions", {9, 1.5, 100ms, 60s}, 3, 225ms},
  };
  for (const Row& row : rows)
    EXPECT_EQ(next_attempt(row.policy, row.attempts, CallFailure::kRaised), row.delay) << row.says;
}

TEST(RetryPolicy, NextAttempt_IsOnlyForWhatMayEndOtherwise) {
  struct Row {
    CallFailure why;
    bool again;
  };
  for (const Row& row : {Row{CallFailure::kRaised, true}, Row{CallFailure::kTimedOut, true},
                         Row{CallFailure::kWorkerDied, true}, Row{CallFailure::kNotStarted, false},
                         Row{CallFailure::kRefused, false}}) {
    EXPECT_EQ(next_attempt(kDoubling, 1, row.why).has_value(), row.again)
        << static_cast<int>(row.why);
  }
}

TEST(RetryPolicy, NextAttempt_EndsAfterOnePlusRetries_WhateverThePolicy) {
  for (std::uint32_t retries = 0; retries < 10; ++retries) {
    const RetryPolicy policy{retries, 1.0, 0s, 60s};
    std::uint32_t attempts = 1;
    while (next_attempt(policy, attempts, CallFailure::kWorkerDied)) ++attempts;
    EXPECT_EQ(attempts, 1 + retries);
  }
}

}  // namespace
}  // namespace ionian
