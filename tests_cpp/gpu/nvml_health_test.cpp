// Whether a GPU is well, and what the driver reports of it while it is held.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <chrono>
#include <string>
#include <thread>

#include "gpu/xid_watch.hpp"
#include "ionian/inventory.hpp"
#include "support/fake_nvml.hpp"

namespace ionian {
namespace {

using namespace std::chrono_literals;
using testing::FakeNvml;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const std::string kUuid = "GPU-00000000-0000-0000-0000-00000000000a";
const std::string kMig = "MIG-00000000-0000-0000-0000-000000000001";

std::string gpu(const std::string& more = "") {
  return "gpu uuid=" + kUuid + ";name=NVIDIA A10G;total=24000000000;used=5" +
         (more.empty() ? "" : ";" + more) + "\n";
}
const std::string kCut = gpu("mig=1") + "slice uuid=" + kMig +
                         ";name=NVIDIA A10G MIG 1g.6gb;total=6000000000;instance=3\n";

DeviceHealth health(const std::string& uuid = kUuid) {
  Device device;
  device.uuid = uuid;
  return health_of(device, 10s);
}

TEST(NvmlHealth, AGpuThatAnswersIsWell) {
  const FakeNvml fake(gpu("processes=2147483000:1000"));
  const auto found = health();
  EXPECT_TRUE(found.answered);
  EXPECT_EQ(found.trouble + found.pending, "");
  EXPECT_THAT(found.processes.value(), SizeIs(1));
  EXPECT_EQ(found.memory_used_bytes, 5U);
  EXPECT_FALSE(found.draws);
}

TEST(NvmlHealth, ASliceIsAsWellAsItsGpu) {
  const FakeNvml fake(gpu("memory_error=15"));
  EXPECT_THAT(health(kUuid + "/1").trouble, HasSubstr("GPU is lost"));
}

TEST(NvmlHealth, SaysWhatIsWrong) {
  struct Row {
    std::string machine;
    std::string uuid;
    std::string trouble;
  };
  for (const Row& row : {Row{gpu("handle_error=15"), kUuid, "GPU is lost"},
                         Row{gpu("memory_error=15"), kUuid, "GPU is lost"},
                         Row{gpu("process_error=16"), kUuid, "nvidia-smi --gpu-reset"},
                         Row{gpu("handle_error=999"), kUuid, "Unknown Error"},
                         Row{gpu("handle_error=77"), kUuid, "NVML error 77"},
                         Row{"driver 1\n", kUuid, "does not list it any more"},
                         Row{gpu(), kMig, "MIG instance gone"}}) {
    const FakeNvml fake(row.machine);
    const auto found = health(row.uuid);
    EXPECT_TRUE(found.answered) << row.machine;
    EXPECT_THAT(found.trouble, HasSubstr(row.trouble)) << row.machine;
  }
}

TEST(NvmlHealth, SaysWhatTheGpuWantsAResetFor) {
  struct Row {
    std::string more;
    std::string pending;
  };
  for (const Row& row :
       {Row{"remap_pending=1", "row remap is pending"}, Row{"remap_failed=1", "replaced"},
        Row{"retired_pending=1", "page retirement"}, Row{"recovery=1", "reset"},
        Row{"recovery=2", "reboot"}, Row{"recovery=4", "recovery action 4"}}) {
    const FakeNvml fake(gpu(row.more));
    const auto found = health();
    EXPECT_EQ(found.trouble, "") << row.more;
    EXPECT_THAT(found.pending, HasSubstr(row.pending)) << row.more;
  }
}

TEST(NvmlHealth, ADriverThatDoesNotAnswerSaysNothingOfTheGpu) {
  {
    const FakeNvml fake("init 18\n");
    EXPECT_FALSE(health().answered);
    EXPECT_THAT(health().trouble, HasSubstr("old kernel module"));
  }
  const FakeNvml fake("hang nvmlDeviceGetHandleByUUID\n" + gpu());
  Device device;
  device.uuid = kUuid;
  const auto found = health_of(device, 50ms);
  EXPECT_FALSE(found.answered);
  EXPECT_THAT(found.trouble, HasSubstr("has not answered"));
  fake.release();
  while (!health().answered) std::this_thread::sleep_for(1ms);
}

class XidWatchTest : public ::testing::Test {
 protected:
  static void wait_until_watching(const XidWatch& watch) {
    while (!watch.watching()) std::this_thread::sleep_for(1ms);
  }
  /// The descriptor stays readable until next() has found nothing, so one poll is not enough.
  static GpuEvent wait_for_event(XidWatch& watch) {
    pollfd polled{watch.fd(), POLLIN, 0};
    while (::poll(&polled, 1, 60'000) == 1) {
      if (auto event = watch.next()) return *event;
    }
    ADD_FAILURE() << "no event within a minute";
    return {};
  }
};

TEST_F(XidWatchTest, ReportsXidsOfTheGpusThatItWatches) {
  const FakeNvml fake(gpu());
  fake.report(kUuid + " 13");  // before our time
  XidWatch watch({kUuid});
  wait_until_watching(watch);
  fake.report("GPU-somebody-elses 48");
  fake.report(kUuid + " 79");
  fake.report(kUuid + " 31");
  const auto first = wait_for_event(watch);
  EXPECT_EQ(first.xid, 79U);
  EXPECT_EQ(first.uuid, kUuid);
  EXPECT_EQ(wait_for_event(watch).xid, 31U);
  EXPECT_EQ(watch.next(), std::nullopt);
}

TEST_F(XidWatchTest, ASliceHearsOfItsGpu) {
  const FakeNvml fake(gpu());
  XidWatch watch({kUuid + "/1"});
  wait_until_watching(watch);
  fake.report(kUuid + " 79");
  EXPECT_EQ(wait_for_event(watch).uuid, kUuid + "/1");
}

TEST_F(XidWatchTest, AMigInstanceHearsOfItselfAndOfTheWholeGpu) {
  const FakeNvml fake(kCut);
  XidWatch watch({kMig});
  wait_until_watching(watch);
  fake.report(kUuid + " 31 2");  // another instance
  fake.report(kUuid + " 43 3");
  fake.report(kUuid + " 79");
  EXPECT_EQ(wait_for_event(watch).xid, 43U);
  EXPECT_EQ(wait_for_event(watch).xid, 79U);
}

TEST_F(XidWatchTest, SaysOnceThatAGpuOrAMigInstanceIsGone) {
  const FakeNvml fake(kCut);
  XidWatch mig({kMig});
  XidWatch whole({kUuid});
  wait_until_watching(mig);
  wait_until_watching(whole);
  fake.say(gpu("mig=0"));
  EXPECT_EQ(wait_for_event(mig).trouble, "MIG instance gone");
  fake.say(gpu("handle_error=15"));
  EXPECT_EQ(wait_for_event(whole).trouble, "GPU is lost");
  EXPECT_EQ(mig.next(), std::nullopt);
}

TEST_F(XidWatchTest, NobodyWaitsForAThreadThatHangs) {
  const FakeNvml fake("hang nvmlEventSetWait_v2\n" + gpu());
  {
    XidWatch watch({kUuid});
    wait_until_watching(watch);
    EXPECT_EQ(watch.next(), std::nullopt);
  }
  EXPECT_TRUE(XidWatch::threads_left());
  fake.release();
  while (XidWatch::threads_left()) std::this_thread::sleep_for(1ms);
}

TEST_F(XidWatchTest, EndsByItselfWhereTheDriverDoesNotLetItWatch) {
  for (const std::string& machine : {std::string("init 999\n"), gpu("event_error=3")}) {
    const FakeNvml fake(machine);
    const XidWatch watch({kUuid});
    while (XidWatch::threads_left()) std::this_thread::sleep_for(1ms);
    EXPECT_FALSE(watch.watching());
  }
}

}  // namespace
}  // namespace ionian
