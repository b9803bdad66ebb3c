// Leases as other processes see them: every test talks to real locks in a directory of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <fstream>
#include <functional>
#include <thread>

#include "ionian/error.hpp"
#include "ionian/lease.hpp"
#include "support/machines.hpp"
#include "support/temporary_directory.hpp"

namespace ionian {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class LeaseBookTest : public ::testing::Test {
 protected:
  LeaseBook book(const Inventory& inventory) {
    return LeaseBook(inventory, {locks.path(), GpuMatch::kUpgrade, true});
  }
  static LeaseOwner me(const std::string& function = "f") {
    return this_process_as_owner("app", function, "run");
  }
  static GpuRequest gpus(const std::string& text) { return GpuRequest::parse(text); }

  /// Runs `body` in another process, which then sleeps until it is killed.
  pid_t in_child(const std::function<void()>& body) {
    const std::string done = locks.path("child-is-done");
    const pid_t child = ::fork();
    if (child == 0) {
      body();
      std::ofstream(done) << "x";
      for (;;) ::pause();
    }
    while (::access(done.c_str(), F_OK) != 0) ::usleep(500);
    ::unlink(done.c_str());
    return child;
  }
  static void end(pid_t child) {
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  }

  testing::TemporaryDirectory locks;
};

TEST_F(LeaseBookTest, ALeaseSaysItsGpus) {
  const auto machine = machines::pcie_4x();
  auto leases = book(machine);
  const Lease lease = leases.acquire(gpus("L40S:2"), me());
  ASSERT_EQ(lease.devices().size(), 2U);
  EXPECT_EQ(lease.visible_devices(), machine.devices[0].uuid + "," + machine.devices[1].uuid);
  EXPECT_EQ(lease.alternative(), 0U);
}

TEST_F(LeaseBookTest, TwoBooksNeverGrantTheSameGpu) {
  auto one = book(machines::workstation_2x4090());
  auto two = book(machines::workstation_2x4090());
  const Lease a = one.acquire(gpus("any"), me());
  const Lease b = two.acquire(gpus("any"), me());
  EXPECT_NE(a.devices()[0].uuid, b.devices()[0].uuid);
  EXPECT_THROW(static_cast<void>(one.acquire(gpus("any"), me(), 10ms)), LeaseTimeoutError);
}

TEST_F(LeaseBookTest, ReleaseFreesAtOnce_AndSoDoesTheEndOfTheObject) {
  auto leases = book(machines::one_a10g());
  Lease first = leases.acquire(gpus("any"), me());
  first.release();
  EXPECT_FALSE(first);
  { const Lease second = leases.acquire(gpus("any"), me(), 1s); }
  EXPECT_TRUE(leases.acquire(gpus("any"), me(), 1s));
}

TEST_F(LeaseBookTest, AProcessForkedFromAHolderOrAWaiter_KeepsNeitherGpuNorPlace) {
  auto mine = book(machines::one_a10g());
  Lease held = mine.acquire(gpus("any"), me());
  std::optional<LeaseWaiter> waiter = mine.request(gpus("any"), me());
  const pid_t child = in_child([] {});
  held.release();
  waiter.reset();
  auto other = book(machines::one_a10g());
  EXPECT_THAT(other.queue(), IsEmpty());
  EXPECT_TRUE(other.acquire(gpus("any"), me(), 10s));
  end(child);
}

TEST_F(LeaseBookTest, AKilledHoldersGpuIsGrantedToTheWaiter) {
  const pid_t child = in_child([&] {
    static auto theirs = book(machines::one_a10g());
    static const Lease held = theirs.acquire(gpus("any"), me("train"));
  });
  auto mine = book(machines::one_a10g());
  EXPECT_EQ(mine.status()[0].state, LeaseStatus::State::kLeased);
  EXPECT_EQ(mine.status()[0].owner->pid, child);
  EXPECT_EQ(mine.status()[0].owner->function, "train");
  std::thread killer([child] {
    std::this_thread::sleep_for(20ms);
    end(child);
  });
  EXPECT_TRUE(mine.acquire(gpus("any"), me(), 10s));
  killer.join();
}

TEST_F(LeaseBookTest, AWaiterThatIsKilledLeavesTheQueue) {
  auto mine = book(machines::one_a10g());
  const Lease held = mine.acquire(gpus("any"), me());
  const pid_t child = in_child([&] {
    static auto theirs = book(machines::one_a10g());
    static const auto waiter = theirs.request(gpus("any"), me("other"));
  });
  ASSERT_EQ(mine.queue().size(), 1U);
  EXPECT_EQ(mine.queue()[0].owner.function, "other");
  end(child);
  EXPECT_THAT(mine.queue(), IsEmpty());
}

TEST_F(LeaseBookTest, WaitersAreServedFirstInFirstOut) {
  auto leases = book(machines::one_a10g());
  Lease held = leases.acquire(gpus("any"), me());
  auto first = leases.request(gpus("A10G"), me());
  auto second = leases.request(gpus("any"), me());
  EXPECT_FALSE(second.try_grant());
  EXPECT_FALSE(first.try_grant());
  held.release();
  EXPECT_FALSE(second.try_grant()) << "it is not its turn";
  auto granted = first.try_grant();
  ASSERT_TRUE(granted);
  granted.reset();
  EXPECT_TRUE(second.try_grant());
}

TEST_F(LeaseBookTest, AGangIsNotPassedByALaterSmallRequest) {
  auto leases = book(machines::pcie_4x());
  Lease one = leases.acquire(gpus("L40S"), me());
  auto gang = leases.request(gpus("L40S:4"), me());
  auto small = leases.request(gpus("L40S"), me());
  EXPECT_FALSE(small.try_grant());
  one.release();
  EXPECT_FALSE(small.try_grant());
  EXPECT_TRUE(gang.try_grant());
}

TEST_F(LeaseBookTest, AnExplanationNamesTheHolderAndThoseAhead) {
  const auto machine = machines::one_a10g();
  auto leases = book(machine);
  const Lease held = leases.acquire(gpus("any"), me("train"));
  auto first = leases.request(gpus("any"), me("evaluate"));
  auto second = leases.request(GpuRequest::parse(std::vector<std::string>{"H100", "A10G"}), me());
  const auto explanation = second.explain();
  EXPECT_EQ(explanation.position, 1U);
  const std::string text = explanation.to_string();
  EXPECT_THAT(text, HasSubstr("waiting for [H100, A10G]: 0 of 1 GPUs free, 1 request ahead"));
  EXPECT_THAT(text, HasSubstr("needs 1 x A10G; 0 free; 1 leased by"));
  EXPECT_THAT(text, HasSubstr("(A10G " + machine.devices[0].uuid + ")"));
  EXPECT_THAT(text, HasSubstr("function train"));
  EXPECT_THAT(text, HasSubstr("ahead: request 2, any by"));
}

TEST_F(LeaseBookTest, TimingOutNamesTheHolder) {
  auto leases = book(machines::one_a10g());
  const Lease held = leases.acquire(gpus("any"), me("train"));
  try {
    static_cast<void>(leases.acquire(gpus("any"), me(), 5ms));
    FAIL();
  } catch (const LeaseTimeoutError& error) {
    EXPECT_THAT(error.what(), HasSubstr("function train"));
  }
}

TEST_F(LeaseBookTest, ATicketOfNonsenseBlocksNobody) {
  auto leases = book(machines::one_a10g());
  const pid_t child = in_child([&] {
    static auto theirs = book(machines::workstation_2x4090());
    static const auto waiter = theirs.request(gpus("RTX4090:2"), me());  // GPUs that we do not have
  });
  EXPECT_TRUE(leases.acquire(gpus("any"), me(), 1s));
  end(child);
}

TEST_F(LeaseBookTest, WantedSaysWhatAWaiterLacks) {
  const auto machine = machines::workstation_2x4090();
  auto leases = book(machine);
  const Lease a = leases.acquire(gpus("any"), me());
  const Lease b = leases.acquire(gpus("any"), me());
  const std::string first = a.visible_devices();
  const std::string second = b.visible_devices();
  EXPECT_THAT(leases.wanted({first, second}), IsEmpty());
  const auto waiter = leases.request(gpus("any"), me());
  EXPECT_THAT(leases.wanted({first, second}), ElementsAre(LeaseDemand{1, {first, second}}));
  EXPECT_THAT(leases.wanted({first}), ElementsAre(LeaseDemand{1, {first}}));
  EXPECT_THAT(leases.wanted({first}, {second}), IsEmpty()) << "one is on its way already";
}

TEST_F(LeaseBookTest, WantedIsEmptyWhileTheWaiterCanBeServedOtherwise) {
  auto leases = book(machines::two_and_two());
  const Lease held = leases.acquire(gpus("A10G:2"), me());
  std::vector<std::string> uuids;
  for (const auto& device : held.devices()) uuids.push_back(device.uuid);
  const auto waiter = leases.request(gpus("any"), me());
  EXPECT_THAT(leases.wanted(uuids), IsEmpty());
}

TEST_F(LeaseBookTest, AGpuOfAnAncestorIsNotWaitedFor) {
  const auto machine = machines::workstation_2x4090();
  auto leases = book(machine);
  const auto outer = machine.devices[0].uuid;
  EXPECT_THROW(static_cast<void>(leases.request(gpus("any:2"), me(), {outer})), LeaseDeadlockError);
  auto waiter = leases.request(gpus("any"), me(), {outer});
  const auto lease = waiter.try_grant();
  ASSERT_TRUE(lease);
  EXPECT_NE(lease->devices()[0].uuid, outer);
}

TEST_F(LeaseBookTest, ManyThreadsWithBooksOfTheirOwn_NeverHoldTheSameGpuTogether) {
  const auto machine = machines::pcie_4x();
  std::array<std::atomic<int>, 4> holders{};
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      auto leases = book(machine);
      for (int i = 0; i < 25; ++i) {
        const Lease lease =
            leases.acquire(gpus("L40S:" + std::to_string(1 + (t + i) % 3)), me(), 60s);
        for (const auto& device : lease.devices()) {
          EXPECT_EQ(holders[static_cast<std::size_t>(device.index)].fetch_add(1), 0)
              << "leased twice";
        }
        std::this_thread::yield();
        for (const auto& device : lease.devices())
          --holders[static_cast<std::size_t>(device.index)];
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_THAT(book(machine).queue(), IsEmpty());
}

}  // namespace
}  // namespace ionian
