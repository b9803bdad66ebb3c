// Slices of a GPU: apart from each other, and never beside a lease of the whole GPU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gpu/split.hpp"
#include "ionian/lease.hpp"
#include "lease/lock_directory.hpp"
#include "support/machines.hpp"
#include "support/temporary_directory.hpp"

namespace ionian {
namespace {

using ::testing::ElementsAre;

class SplitLeaseTest : public ::testing::Test {
 protected:
  LeaseBook book(int slices) {
    return LeaseBook(split(machines::machine({machines::kA10G, machines::kA10G}), slices),
                     {locks.path(), GpuMatch::kUpgrade, true});
  }
  /// Returns what a request is granted at once, an empty lease if nothing is.
  static Lease now(LeaseBook& leases, const std::string& request) {
    auto waiter = leases.request(GpuRequest::parse(request), owner());
    auto lease = waiter.try_grant();
    return lease ? std::move(*lease) : Lease();
  }
  static LeaseOwner owner() { return this_process_as_owner("app", "f", "run"); }

  testing::TemporaryDirectory locks;
};

TEST_F(SplitLeaseTest, SlicesOfOneGpuAreLeasedApart) {
  auto leases = book(2);
  std::vector<Lease> held;
  for (int i = 0; i < 4; ++i) held.push_back(now(leases, "A10G"));
  for (const auto& lease : held) EXPECT_EQ(lease.devices().size(), 1U);
  EXPECT_FALSE(now(leases, "A10G"));
  held.pop_back();
  EXPECT_TRUE(now(leases, "A10G"));
}

TEST_F(SplitLeaseTest, ASliceKeepsItsGpuFromBeingLeasedWhole) {
  auto slices = book(2);
  auto whole = book(1);
  Lease slice = now(slices, "A10G");
  EXPECT_FALSE(now(whole, "A10G:2")) << "one of the two is in use";
  EXPECT_TRUE(now(whole, "A10G")) << "the other is not";
  const auto status = whole.status();
  const auto held = static_cast<std::size_t>(
      std::count_if(status.begin(), status.end(), [](const LeaseStatus& each) {
        return each.state == LeaseStatus::State::kLeased && each.owner &&
               each.owner->function == "f";
      }));
  EXPECT_EQ(held, 1U) << "the slice's holder is named";
  slice.release();
  EXPECT_TRUE(now(whole, "A10G:2"));
}

TEST_F(SplitLeaseTest, AWholeGpuKeepsItsSlicesFromBeingLeased) {
  auto slices = book(2);
  auto whole = book(1);
  Lease both = now(whole, "A10G:2");
  ASSERT_TRUE(both);
  EXPECT_FALSE(now(slices, "A10G"));
  for (const auto& status : slices.status()) EXPECT_EQ(status.state, LeaseStatus::State::kLeased);
  both.release();
  EXPECT_TRUE(now(slices, "A10G:4"));
}

TEST_F(SplitLeaseTest, SlicesOfOtherSizesShareAGpuToo) {
  auto halves = book(2);
  auto quarters = book(4);
  Lease half = now(halves, "A10G:4");
  ASSERT_TRUE(half);
  EXPECT_EQ(now(quarters, "A10G:4").devices().size(), 4U) << "those that no half has the number of";
  EXPECT_FALSE(now(quarters, "A10G:5"));
}

TEST_F(SplitLeaseTest, AWaitingWholeRequestIsNotPassedBySlices) {
  auto slices = book(2);
  auto whole = book(1);
  Lease slice = now(slices, "A10G");
  auto older = whole.request(GpuRequest::parse("A10G:2"), owner());
  EXPECT_FALSE(older.try_grant());
  auto younger = slices.request(GpuRequest::parse("A10G"), owner());
  EXPECT_FALSE(younger.try_grant()) << "every slice is claimed by the older request";
  slice.release();
  EXPECT_TRUE(older.try_grant());
}

TEST_F(SplitLeaseTest, AWaitingRequestForSlicesIsNotPassedByWholeOnes) {
  auto slices = book(2);
  auto whole = book(1);
  Lease other = now(slices, "A10G");
  auto older = slices.request(GpuRequest::parse("A10G:4"), owner());
  EXPECT_FALSE(older.try_grant());
  auto younger = whole.request(GpuRequest::parse("A10G"), owner());
  EXPECT_FALSE(younger.try_grant());
  other.release();
  EXPECT_TRUE(older.try_grant());
}

TEST_F(SplitLeaseTest, TheVisibleDevicesNameEachGpuOnce) {
  auto leases = book(2);
  const Lease all = now(leases, "A10G:4");
  const auto machine = machines::machine({machines::kA10G, machines::kA10G});
  EXPECT_EQ(all.visible_devices(), machine.devices[0].uuid + "," + machine.devices[1].uuid);
}

TEST(LockDirectoryShared, HoldersShareAndKeepOutWhoWantsItAlone) {
  const testing::TemporaryDirectory root;
  LockDirectory locks(root.path("locks"), false);
  EXPECT_EQ(locks.held("x"), Hold::kNone);
  LockFile first = locks.try_lock("x", Hold::kShared);
  LockFile second = locks.try_lock("x", Hold::kShared);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(locks.held("x"), Hold::kShared);
  EXPECT_FALSE(locks.try_lock("x"));
  first.reset();
  second.reset();
  const LockFile alone = locks.try_lock("x");
  EXPECT_EQ(locks.held("x"), Hold::kExclusive);
  EXPECT_FALSE(locks.try_lock("x", Hold::kShared));
}

}  // namespace
}  // namespace ionian
