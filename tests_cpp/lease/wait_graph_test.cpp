// Who waits for whom, on four GPUs of one model numbered 0 to 3 unless a test says otherwise.
#include "lease/wait_graph.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/machines.hpp"

namespace ionian::wait_graph {
namespace {

using Gpus = std::vector<std::size_t>;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

const Gpus kAll{0, 1, 2, 3};

Request request(std::uint64_t number, std::size_t count, Gpus gpus, Gpus held = {}) {
  return {{number, {{"L40S", count, std::move(gpus)}}}, std::move(held)};
}

std::vector<std::uint64_t> served(std::vector<Request> queue) {
  let_nested_pass(Machine(machines::pcie_4x()), queue);
  std::vector<std::uint64_t> numbers;
  for (const auto& each : queue) numbers.push_back(each.waiting.request);
  return numbers;
}

/// Returns the circle that the youngest member of it sees; checks that nobody else sees one.
std::vector<std::uint64_t> circle(const std::vector<Request>& queue) {
  std::vector<std::uint64_t> found;
  for (const auto& each : queue) {
    const auto mine = deadlock(Machine(machines::pcie_4x()), queue, each.waiting.request);
    if (mine.empty()) continue;
    EXPECT_THAT(found, IsEmpty()) << "two would give way";
    EXPECT_EQ(mine.front(), each.waiting.request);
    found = mine;
  }
  return found;
}

TEST(WaitGraph, PlainRequestsAreServedInTheOrderInWhichTheyCame) {
  EXPECT_THAT(served({request(1, 4, kAll), request(2, 1, kAll), request(3, 1, kAll)}),
              ElementsAre(1, 2, 3));
}

TEST(WaitGraph, ANestedRequestPassesWhoWaitsForItsCallersGpu) {
  EXPECT_THAT(served({request(1, 4, kAll), request(2, 1, {1, 2, 3}, {0})}), ElementsAre(2, 1));
}

TEST(WaitGraph, ANestedRequestDoesNotPassWhoCanBeServedWithoutItsCallersGpu) {
  EXPECT_THAT(served({request(1, 3, kAll), request(2, 1, {1, 2, 3}, {0})}), ElementsAre(1, 2));
}

TEST(WaitGraph, APlainRequestPassesNobody) {
  EXPECT_THAT(served({request(1, 4, kAll), request(2, 1, kAll), request(3, 1, {1, 2, 3}, {0})}),
              ElementsAre(3, 1, 2));
}

TEST(WaitGraph, TwoCallsThatNeedEachOthersGpu_AreADeadlockAndTheYoungerGivesWay) {
  EXPECT_THAT(circle({request(1, 1, {1}, {0}), request(2, 1, {0}, {1})}), ElementsAre(2, 1));
}

TEST(WaitGraph, AFreeGpuThatWouldDoIsNoDeadlock) {
  EXPECT_THAT(circle({request(1, 1, {1, 2}, {0}), request(2, 1, {0}, {1})}), IsEmpty());
}

TEST(WaitGraph, AnotherAlternativeIsNoDeadlock) {
  Request either = request(2, 1, {0}, {1});
  either.waiting.alternatives.push_back({"L40S", 1, {3}});
  EXPECT_THAT(circle({request(1, 1, {1}, {0}), either}), IsEmpty());
}

TEST(WaitGraph, ARequestOfSeveralGpusIsStuckWhenOneOfThemIs) {
  EXPECT_THAT(circle({request(1, 2, {1, 2}, {0}), request(2, 3, {0, 2, 3}, {1})}),
              ElementsAre(2, 1));
}

TEST(WaitGraph, ACircleOfThreeIsNamedInItsOrder) {
  EXPECT_THAT(circle({request(5, 1, {1}, {0}), request(7, 1, {2}, {1}), request(9, 1, {0}, {2})}),
              ElementsAre(9, 5, 7));
}

TEST(WaitGraph, WhoOnlyWaitsForACircleIsNotOfIt) {
  const std::vector<Request> queue{request(1, 1, {1}, {0}), request(2, 1, {0}, {1}),
                                   request(3, 1, {0}, {3}), request(4, 1, {0})};
  EXPECT_THAT(circle(queue), ElementsAre(2, 1));
}

TEST(WaitGraph, AChainThatEndsIsNoDeadlock) {
  EXPECT_THAT(circle({request(1, 1, {1}, {0}), request(2, 1, {2}, {1}), request(3, 1, {3}, {2})}),
              IsEmpty());
}

TEST(WaitGraph, TwoCirclesEachHaveTheirYoungest) {
  const std::vector<Request> queue{request(1, 1, {1}, {0}), request(2, 1, {0}, {1}),
                                   request(3, 1, {3}, {2}), request(4, 1, {2}, {3})};
  const Machine machine(machines::pcie_4x());
  EXPECT_THAT(deadlock(machine, queue, 2), ElementsAre(2, 1));
  EXPECT_THAT(deadlock(machine, queue, 4), ElementsAre(4, 3));
  EXPECT_THAT(deadlock(machine, queue, 1), IsEmpty());
  EXPECT_THAT(deadlock(machine, queue, 3), IsEmpty());
}

TEST(WaitGraph, AfterTheYoungestGaveWay_TheOthersAreGranted) {
  EXPECT_THAT(circle({request(1, 1, {1}, {0})}), IsEmpty());
}

}  // namespace
}  // namespace ionian::wait_graph
