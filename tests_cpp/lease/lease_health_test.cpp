// GPUs that fail and recover, as books of several processes see them; the driver is a fake.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>
#include <thread>

#include "ionian/error.hpp"
#include "ionian/lease.hpp"
#include "support/fake_nvml.hpp"
#include "support/temporary_directory.hpp"

namespace ionian {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using State = LeaseStatus::State;
using testing::FakeNvml;

const std::string kA = "GPU-00000000-0000-0000-0000-00000000000a";
const std::string kB = "GPU-00000000-0000-0000-0000-00000000000b";

std::string gpu(const std::string& uuid, const std::string& more = "") {
  return "gpu uuid=" + uuid + ";name=NVIDIA A10G;total=24000000000;used=500000000;bus=00000000:" +
         uuid.substr(uuid.size() - 1) + "0:00.0" + (more.empty() ? "" : ";" + more) + "\n";
}

class LeaseHealthTest : public ::testing::Test {
 protected:
  LeaseBook book(std::chrono::milliseconds pause = 1h) {
    LeaseBookOptions options;
    options.lock_dir = locks.path();
    options.probe_pauses = {pause};
    return LeaseBook(read_inventory({}), options);
  }
  static LeaseOwner me() { return this_process_as_owner("app", "f", "run"); }
  static GpuRequest gpus(const std::string& text) { return GpuRequest::parse(text); }
  static Quarantine xid(const std::string& uuid) {
    return {uuid, "Xid 79: GPU has fallen off the bus", "reboot the machine", 79, me()};
  }
  /// Returns what a request that is not granted says while it waits.
  static std::string refusal(LeaseBook& book, const std::string& request) {
    try {
      const auto lease = book.acquire(gpus(request), me(), 20ms);
      return "granted " + lease.visible_devices();
    } catch (const LeaseTimeoutError& error) {
      return error.what();
    }
  }

  testing::TemporaryDirectory locks;
};

TEST_F(LeaseHealthTest, AQuarantinedGpuIsGrantedToNobody_AndTheOthersAre) {
  const FakeNvml fake(gpu(kA) + gpu(kB));
  auto finder = book();
  auto other = book();
  finder.quarantine(xid(kA));
  EXPECT_TRUE(other.is_quarantined(kA));
  EXPECT_FALSE(other.is_quarantined(kB));
  const Lease lease = other.acquire(gpus("A10G"), me(), 10s);
  EXPECT_EQ(lease.visible_devices(), kB);
  EXPECT_THAT(refusal(finder, "A10G"), HasSubstr("quarantined for 0 s: Xid 79"));
}

TEST_F(LeaseHealthTest, SaysWhyAndSinceWhenAndUntilTheNextProbe) {
  const FakeNvml fake(gpu(kA));
  auto one = book();
  one.quarantine(xid(kA));
  auto two = book();
  const auto status = two.status()[0];
  EXPECT_EQ(status.state, State::kQuarantined);
  ASSERT_TRUE(status.quarantine);
  EXPECT_EQ(status.quarantine->xid, 79U);
  EXPECT_EQ(status.quarantine->finder.app, "app");
  EXPECT_GT(status.quarantine->probe_in, 59min);
  EXPECT_THAT(refusal(two, "A10G"),
              AllOf(HasSubstr("not possible now, but later"), HasSubstr("Xid 79"),
                    HasSubstr("reboot the machine"), HasSubstr("probed again in 36")));
}

TEST_F(LeaseHealthTest, AQuarantinedGpuIsAnObstacleOfWhatIsPossibleLater) {
  const FakeNvml fake(gpu(kA));
  auto one = book();
  one.quarantine(xid(kA));
  const auto explanation = one.explain(gpus("A10G"));
  EXPECT_EQ(explanation.never, "");
  EXPECT_FALSE(explanation.possible_now);
  ASSERT_EQ(explanation.alternatives.size(), 1U);
  EXPECT_TRUE(explanation.alternatives[0].possible);
  EXPECT_EQ(explanation.alternatives[0].busy, std::vector<std::string>{kA});
  EXPECT_THAT(explanation.to_string(),
              AllOf(HasSubstr("A10G would wait: 0 of 1 GPUs free"),
                    HasSubstr("not possible now, but later"), HasSubstr("reboot the machine")));
}

TEST_F(LeaseHealthTest, WhatIsImpossibleNowWaits_AndClaimsNothingMeanwhile) {
  const FakeNvml fake(gpu(kA) + gpu(kB));
  auto leases = book();
  leases.quarantine(xid(kA));
  auto both = leases.request(gpus("A10G:2"), me());
  EXPECT_EQ(both.try_grant(), std::nullopt);
  { const Lease younger = leases.acquire(gpus("A10G"), me(), 10s); }  // is not kept from B
  EXPECT_THROW(leases.check(gpus("A10G:3")), UnsatisfiableError);     // that never comes
  leases.probe();
  EXPECT_TRUE(both.try_grant());
}

TEST_F(LeaseHealthTest, AWaiterProbesWhenThePauseIsOver) {
  const FakeNvml fake(gpu(kA));
  auto leases = book(10ms);
  leases.quarantine(xid(kA));
  EXPECT_TRUE(leases.acquire(gpus("A10G"), me(), 60s));
  EXPECT_FALSE(leases.is_quarantined(kA));
  EXPECT_EQ(leases.status()[0].state, State::kFree);
}

TEST_F(LeaseHealthTest, AWaiterForOtherGpusIsNotKeptAwakeByAProbeThatIsDue) {
  const FakeNvml fake(gpu(kA) + gpu(kB, "name=Tesla T4"));
  auto leases = book(1ms);
  const Lease held = leases.acquire(gpus("T4"), me(), 10s);
  auto waiter = leases.request(gpus("T4"), me());
  leases.quarantine(xid(kA));
  for (int i = 0; i < 15; ++i) EXPECT_EQ(waiter.try_grant(), std::nullopt);
  EXPECT_GT(waiter.retry_after(), 500ms);
  EXPECT_TRUE(leases.is_quarantined(kA));
}

TEST_F(LeaseHealthTest, AProbeThatFindsSomethingKeepsTheGpuAndSaysWhat) {
  const FakeNvml fake(gpu(kA));
  auto leases = book();
  struct Row {
    std::string machine;
    std::string found;
  };
  for (const Row& row : {Row{gpu(kA, "handle_error=15"), "GPU is lost"},
                         Row{gpu(kA, "remap_pending=1"), "row remap is pending"},
                         Row{gpu(kA, "recovery=2"), "asks for a reboot"},
                         Row{gpu(kA, "processes=2147483000:9"), "still on it: pid 2147483000"},
                         Row{"init 18\n", "old kernel module"}}) {
    fake.say(gpu(kA));
    leases.quarantine(xid(kA));
    fake.say(row.machine);
    leases.probe();
    const auto status = leases.status()[0];
    ASSERT_EQ(status.state, State::kQuarantined) << row.machine;
    EXPECT_THAT(status.quarantine->found_now, HasSubstr(row.found)) << row.machine;
    EXPECT_EQ(status.quarantine->xid, 79U) << row.machine;
  }
  fake.say(gpu(kA));
  leases.probe();
  EXPECT_EQ(leases.status()[0].state, State::kFree);
}

TEST_F(LeaseHealthTest, MemoryThatNobodyAccountsForKeepsAGpuThatDidNotDrain) {
  const FakeNvml fake(gpu(kA, "used=9000000000"));
  auto leases = book();
  leases.quarantine({kA, "pid 5 was still on it", "", 0, me()}, 500'000'000);
  leases.probe();
  EXPECT_THAT(leases.status()[0].quarantine.value().found_now, HasSubstr("MiB of its memory"));
  fake.say(gpu(kA));
  leases.probe();
  EXPECT_FALSE(leases.is_quarantined(kA));
}

TEST_F(LeaseHealthTest, AGpuThatIsLostBeforeItIsGrantedIsQuarantined_NotGranted) {
  const FakeNvml fake(gpu(kA) + gpu(kB));
  auto leases = book();
  fake.say(gpu(kA, "handle_error=15") + gpu(kB));
  const Lease lease = leases.acquire(gpus("A10G"), me(), 10s);
  EXPECT_EQ(lease.visible_devices(), kB);
  EXPECT_THAT(leases.status()[0].quarantine.value().reason, HasSubstr("GPU is lost"));
}

TEST_F(LeaseHealthTest, AnIllGpuIsNotGranted_AlsoWhereTheDiskIsFull) {
  const FakeNvml fake(gpu(kA));
  auto leases = book();
  fake.say(gpu(kA, "handle_error=15"));
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const struct rlimit full { 0, before.rlim_max };
  auto* const handler = ::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &full), 0);
  const std::string said = refusal(leases, "any");
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, handler);
  EXPECT_THAT(said, HasSubstr("not granted within 20 ms"));
}

TEST_F(LeaseHealthTest, AWaiterIsNotKeptAwakeByAStrangerWhoseGpuIsLeasedNow) {
  const FakeNvml fake(gpu(kA, "processes=2147483000:9"));
  auto leases = book();
  {
    auto waiter = leases.request(gpus("any"), me());
    EXPECT_EQ(waiter.try_grant(), std::nullopt);
    EXPECT_LE(waiter.retry_after(), 5ms) << "the stranger may be gone soon";
  }
  LeaseBookOptions trusting;
  trusting.lock_dir = locks.path();
  trusting.check_strangers = false;
  LeaseBook other(read_inventory({}), trusting);
  const Lease held = other.acquire(gpus("any"), me(), 10s);
  auto next = leases.request(gpus("any"), me());
  for (int i = 0; i < 15; ++i) {
    EXPECT_EQ(next.try_grant(), std::nullopt);
    std::this_thread::sleep_for(1ms);
  }
  EXPECT_GT(next.retry_after(), 500ms);
}

TEST_F(LeaseHealthTest, AGpuInTroubleFromTheBeginningComesBackToo) {
  const FakeNvml fake(gpu(kA, "memory_error=16"));
  auto leases = book();
  EXPECT_THAT(refusal(leases, "any"), HasSubstr("requires reset"));
  fake.say(gpu(kA));
  leases.probe();
  EXPECT_TRUE(leases.acquire(gpus("any"), me(), 10s));
}

TEST_F(LeaseHealthTest, AMigInstanceThatIsGoneIsQuarantinedUntilItIsBack) {
  const std::string mig = "MIG-00000000-0000-0000-0000-000000000001";
  const std::string cut = gpu(kA, "mig=1") + "slice uuid=" + mig +
                          ";name=NVIDIA A10G MIG 1g.6gb;total=6000000000;instance=3\n";
  const FakeNvml fake(cut);
  auto leases = book();
  fake.say(gpu(kA, "mig=0"));
  EXPECT_THAT(refusal(leases, "any"), HasSubstr("MIG instance gone"));
  auto fresh = book();  // counts again
  EXPECT_EQ(fresh.acquire(gpus("A10G"), me(), 10s).visible_devices(), kA);
  fake.say(cut);
  leases.probe();
  EXPECT_EQ(leases.acquire(gpus("any"), me(), 10s).visible_devices(), mig);
}

TEST_F(LeaseHealthTest, TheFirstFindingIsTheCause) {
  const FakeNvml fake(gpu(kA));
  auto leases = book();
  leases.quarantine(xid(kA));
  leases.quarantine({kA, "GPU is lost", "", 0, me()});
  leases.quarantine({kA, "Xid 154", "", 154, me()});
  EXPECT_EQ(leases.status()[0].quarantine.value().xid, 79U);
}

TEST_F(LeaseHealthTest, AGpuThatFailsWhileItIsHeldIsQuarantinedWhenItIsGivenBack) {
  const FakeNvml fake(gpu(kA));
  auto leases = book();
  Lease lease = leases.acquire(gpus("A10G"), me(), 10s);
  leases.quarantine(xid(kA));
  EXPECT_EQ(leases.status()[0].state, State::kLeased);
  EXPECT_TRUE(leases.status()[0].quarantine);
  lease.release();
  EXPECT_EQ(leases.status()[0].state, State::kQuarantined);
}

TEST_F(LeaseHealthTest, ADrainingGpuSaysWhatIsOnIt_AndStopsSayingSo) {
  const FakeNvml fake(gpu(kA));
  auto holder = book();
  auto other = book();
  Lease lease = holder.acquire(gpus("A10G"), me(), 10s);
  holder.draining(lease, kA, "pid 12 (python)");
  const auto status = other.status()[0];
  EXPECT_EQ(status.state, State::kDraining);
  EXPECT_EQ(status.left, "pid 12 (python)");
  EXPECT_GT(status.draining_since_ns, 0);
  EXPECT_EQ(status.owner.value().function, "f");
  EXPECT_THAT(refusal(other, "any"),
              HasSubstr("draining for 0 s: its lease has ended, and pid 12"));
  holder.draining(lease, kA, "");
  EXPECT_EQ(other.status()[0].state, State::kLeased);
  lease.release();
  EXPECT_EQ(other.status()[0].state, State::kFree);
}

TEST_F(LeaseHealthTest, AllSlicesOfAGpuAreQuarantinedWithIt) {
  const FakeNvml fake(gpu(kA));
  LeaseBookOptions options;
  options.lock_dir = locks.path();
  LeaseBook slices(read_inventory({.split = 2}), options);
  slices.quarantine(xid(kA + "/0"));
  for (const auto& status : slices.status()) EXPECT_EQ(status.state, State::kQuarantined);
  EXPECT_EQ(book().status()[0].state, State::kQuarantined);
}

TEST_F(LeaseHealthTest, NonsenseInAHealthFileQuarantinesNothing) {
  const FakeNvml fake(gpu(kA));
  auto leases = book();
  std::ofstream(locks.path("health-" + kA)) << "somebody was here";
  EXPECT_TRUE(leases.acquire(gpus("any"), me(), 10s));
}

TEST_F(LeaseHealthTest, ADriverThatHangsDoesNotKeepHealthyGpusFromBeingGranted) {
  const FakeNvml fake(gpu(kA) + gpu(kB));
  auto leases = book();
  fake.say("hang nvmlDeviceGetHandleByUUID\n" + gpu(kA) + gpu(kB));
  const Lease lease = leases.acquire(gpus("A10G:2"), me(), 60s);
  EXPECT_EQ(lease.devices().size(), 2U);
  fake.release();
  while (!health_of(lease.devices()[0], 10s).answered) {
  }
}

TEST(LeaseBookOptions, TakesPausesFromTheEnvironment) {
  ::setenv("IONIAN_PROBE_PAUSES", "0.5,60", 1);
  EXPECT_THAT(LeaseBookOptions::from_environment().probe_pauses,
              ::testing::ElementsAre(500ms, 60s));
  for (const char* bad : {"x", "1,", "1;2", "-1", "0", "1e99", "1,,2", "nan"}) {
    ::setenv("IONIAN_PROBE_PAUSES", bad, 1);
    EXPECT_THROW(static_cast<void>(LeaseBookOptions::from_environment()), InvalidError) << bad;
  }
  ::unsetenv("IONIAN_PROBE_PAUSES");
  EXPECT_THAT(LeaseBookOptions::from_environment().probe_pauses,
              ::testing::ElementsAre(30s, 1min, 5min, 30min));
}

}  // namespace
}  // namespace ionian
