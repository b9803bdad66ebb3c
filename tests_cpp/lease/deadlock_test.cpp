// Requests that would wait for ever, over real locks: the youngest of a circle hears of it at once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ionian/error.hpp"
#include "ionian/lease.hpp"
#include "support/machines.hpp"
#include "support/temporary_directory.hpp"

namespace ionian {
namespace {

using ::testing::HasSubstr;

class DeadlockTest : public ::testing::Test {
 protected:
  explicit DeadlockTest() : book(machines::pcie_4x(), {locks.path(), GpuMatch::kUpgrade, true}) {}
  static LeaseOwner call(const std::string& app, const std::string& function,
                         std::vector<std::string> callers = {}) {
    auto owner = this_process_as_owner(app, function, app);
    owner.callers = std::move(callers);
    return owner;
  }
  static GpuRequest gpus(const std::string& text) { return GpuRequest::parse(text); }
  static std::vector<std::string> uuids(const Lease& lease) {
    std::vector<std::string> result;
    for (const auto& device : lease.devices()) result.push_back(device.uuid);
    return result;
  }

  testing::TemporaryDirectory locks;
  LeaseBook book;
};

TEST_F(DeadlockTest, TwoChainsThatNeedEachOthersGpus_TheYoungerHearsAndTheOlderIsServed) {
  std::optional<Lease> one = book.acquire(gpus("L40S:2"), call("one", "outer"));
  std::optional<Lease> two = book.acquire(gpus("L40S:2"), call("two", "outer"));
  auto first = book.request(gpus("L40S:2"), call("one", "inner", {"one.outer"}), uuids(*one));
  EXPECT_FALSE(first.try_grant()) << "two.outer may still end";
  auto second = book.request(gpus("L40S:2"), call("two", "inner", {"two.outer"}), uuids(*two));
  EXPECT_FALSE(first.try_grant()) << "the younger one gives way";
  try {
    static_cast<void>(second.try_grant());
    FAIL() << "it would wait for ever";
  } catch (const LeaseDeadlockError& error) {
    const std::string text = error.what();
    EXPECT_LT(text.find('\n'), 200U);
    EXPECT_THAT(text, HasSubstr("two.outer → two.inner waits for L40S:2 and keeps L40S " +
                                two->devices()[0].uuid));
    EXPECT_THAT(text, HasSubstr("one.outer → one.inner waits for L40S:2 and keeps L40S " +
                                one->devices()[0].uuid));
  }
  { const auto gone = std::move(second); }
  two.reset();
  EXPECT_TRUE(first.try_grant());
}

TEST_F(DeadlockTest, WhatAQuarantinedGpuMayStillEndIsNoDeadlock) {
  const Lease one = book.acquire(gpus("L40S:2"), call("one", "outer"));
  const Lease two = book.acquire(gpus("L40S"), call("two", "outer"));
  for (const auto& device : book.inventory().devices) {
    if (device.uuid == two.devices()[0].uuid || device.uuid == one.devices()[0].uuid ||
        device.uuid == one.devices()[1].uuid) {
      continue;
    }
    book.quarantine({device.uuid, "Xid 79", "", 79, call("one", "outer")});
  }
  auto first = book.request(gpus("L40S"), call("one", "inner", {"one.outer"}), uuids(one));
  EXPECT_FALSE(first.try_grant());
  auto second = book.request(gpus("L40S:2"), call("two", "inner", {"two.outer"}), uuids(two));
  EXPECT_FALSE(second.try_grant()) << "the fourth may be well again";
}

TEST_F(DeadlockTest, ANestedRequestIsServedBeforeWhoWaitsForItsChain) {
  std::optional<Lease> outer = book.acquire(gpus("L40S"), call("a", "outer"));
  auto big = book.request(gpus("L40S:4"), call("b", "big"));
  EXPECT_FALSE(big.try_grant());
  auto inner = book.request(gpus("L40S"), call("a", "inner", {"a.outer"}), uuids(*outer));
  auto lease = inner.try_grant();
  ASSERT_TRUE(lease) << "behind the big one it would wait for ever";
  lease->release();
  outer.reset();
  EXPECT_TRUE(big.try_grant());
}

TEST_F(DeadlockTest, TenDeep_OnlyTheLastThatFindsNoGpuHears) {
  // Four nested calls hold the four GPUs; the fifth needs one.
  std::vector<Lease> leases;
  std::vector<std::string> held;
  std::vector<std::string> callers;
  for (int depth = 0; depth < 4; ++depth) {
    auto waiter = book.request(gpus("L40S"), call("deep", "f", callers), held);
    auto lease = waiter.try_grant();
    ASSERT_TRUE(lease);
    held.push_back(lease->devices()[0].uuid);
    callers.push_back("deep.f (L40S " + held.back() + ")");
    leases.push_back(std::move(*lease));
  }
  try {
    static_cast<void>(book.request(gpus("L40S"), call("deep", "f", callers), held));
    FAIL();
  } catch (const LeaseDeadlockError& error) {
    EXPECT_THAT(error.what(), HasSubstr("chain: deep.f (L40S " + held[0] + ") → deep.f (L40S "));
    EXPECT_THAT(error.what(), HasSubstr(held[3] + ") → deep.f\n"));
  }
}

TEST_F(DeadlockTest, AskingWhatWouldBeEntersNoQueue) {
  const Lease all = book.acquire(gpus("L40S:4"), call("a", "f"));
  const auto explanation = book.explain(gpus("L40S"));
  EXPECT_TRUE(explanation.grant.empty());
  EXPECT_FALSE(explanation.queued);
  EXPECT_TRUE(book.queue().empty());
  EXPECT_THAT(book.explain(gpus("H100")).never, HasSubstr("4 x L40S"));
}

}  // namespace
}  // namespace ionian
