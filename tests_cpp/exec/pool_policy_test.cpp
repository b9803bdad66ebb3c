#include "exec/pool_policy.hpp"

#include <gtest/gtest.h>

namespace ionian {
namespace {

struct Row {
  const char* says;
  PoolLimits limits;
  PoolLoad load;
  std::size_t wanted;
};

TEST(PoolPolicy, WantedWorkers_FollowsTheTable) {
  const Row rows[] = {
      {"nothing to do, nobody wanted", {0, 0, 0, 8}, {0, 0, 0, 0, 0}, 0},
      {"the first call gets a worker", {0, 0, 0, 8}, {1, 0, 0, 0, 0}, 1},
      {"calls of unknown length get a worker each", {0, 0, 0, 8}, {5, 0, 0, 0, 0}, 5},
      {"but no more than there are GPUs", {0, 0, 0, 8}, {1000, 0, 0, 0, 0}, 8},
      {"nor than max_containers", {0, 3, 0, 8}, {1000, 0, 0, 0, 0}, 3},
      {"min_containers are there without calls", {2, 0, 0, 8}, {0, 0, 0, 0, 0}, 2},
      {"min_containers beyond the machine are all of it at least",
       {9, 0, 0, 8},
       {0, 0, 0, 0, 0},
       9},
      {"buffer_containers come with work", {0, 0, 2, 8}, {0, 0, 0, 1, 1}, 3},
      {"and not without", {0, 0, 2, 8}, {0, 0, 1, 0, 1}, 0},
      {"busy workers are kept", {0, 0, 0, 8}, {0, 0, 0, 3, 1}, 3},
      {"a backlog of short calls is left to the workers there",
       {0, 0, 0, 8},
       {100, 0, 0, 1, 1e-6},
       1},
      {"a long backlog of short calls is not", {0, 0, 0, 8}, {10'000, 0, 0, 1, 1e-6}, 8},
      {"short calls still need a first worker", {0, 0, 0, 8}, {100, 0, 0, 0, 1e-6}, 8},
      {"a machine that fits none still gets one, which waits", {0, 0, 0, 0}, {1, 0, 0, 0, 0}, 1},
  };
  for (const Row& row : rows)
    EXPECT_EQ(wanted_workers(row.limits, row.load), row.wanted) << row.says;
}

TEST(PoolPolicy, PrefetchDepth_FallsWithTheLengthOfCalls) {
  EXPECT_EQ(prefetch_depth(0), 1U) << "unknown";
  EXPECT_EQ(prefetch_depth(1.0), 1U);
  EXPECT_EQ(prefetch_depth(0.0001), 2U);
  EXPECT_EQ(prefetch_depth(1e-6), kMaxPrefetch);
  EXPECT_EQ(prefetch_depth(1e-12), kMaxPrefetch);
}

}  // namespace
}  // namespace ionian
