// The inventory through a library that behaves as drivers do, well and badly.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>

#include "ionian/inventory.hpp"
#include "support/fake_nvml.hpp"

namespace ionian {
namespace {

using namespace std::chrono_literals;
using testing::FakeNvml;

const std::string kH100 =
    "gpu uuid=GPU-00000000-0000-0000-0000-00000000000a;name=NVIDIA H100 80GB HBM3;"
    "total=85520809984;used=1048576;bus=00000000:9B:00.0;cc=9.0;cpus=f0;nvlinks=switch*18\n";
const std::string kT4 =
    "gpu uuid=GPU-00000000-0000-0000-0000-00000000000b;name=Tesla T4;total=16106127360;used=0;"
    "bus=00000000:3B:00.0;cc=7.5;cpus=0f\n";

/// Returns `line` of a gpu with more fields.
std::string with(std::string line, const std::string& fields) {
  line.insert(line.size() - 1, ";" + fields);
  return line;
}
/// Returns `line` of a gpu with another UUID and bus.
std::string another(std::string line, const std::string& digit) {
  return with(std::move(line), "uuid=GPU-00000000-0000-0000-0000-0000000000f" + digit +
                                   ";bus=00000000:F" + digit + ":00.0");
}

TEST(Nvml, ReportsGpusInPciBusOrder) {
  const FakeNvml fake("driver 580.95.05\n" + kH100 + kT4);
  const auto inventory = read_inventory({});
  EXPECT_EQ(inventory.source, Inventory::Source::kNvml);
  EXPECT_EQ(inventory.driver_version, "580.95.05");
  EXPECT_EQ(inventory.library_path, FAKE_NVML_LIBRARY);
  EXPECT_EQ(inventory.reason, "");
  ASSERT_EQ(inventory.devices.size(), 2U);
  const auto& t4 = inventory.devices[0];
  const auto& h100 = inventory.devices[1];
  EXPECT_EQ(t4.type, "T4");
  EXPECT_EQ(t4.index, 0);
  EXPECT_EQ(h100.index, 1);
  EXPECT_EQ(h100.type, "H100");
  EXPECT_EQ(h100.name, "NVIDIA H100 80GB HBM3");
  EXPECT_EQ(h100.uuid, "GPU-00000000-0000-0000-0000-00000000000a");
  EXPECT_EQ(h100.memory_bytes, 85520809984U);
  EXPECT_EQ(h100.memory_used_bytes, 1048576U);
  EXPECT_EQ(h100.compute_major, 9);
  EXPECT_EQ(h100.pci_bus_id, "00000000:9B:00.0");
  EXPECT_EQ(h100.cpus, (std::vector<int>{4, 5, 6, 7}));
  EXPECT_FALSE(h100.simulated);
  EXPECT_EQ(h100.trouble, "");
}

TEST(Nvml, KeepsItsOrderWhenTheDriverChangesIts) {
  const FakeNvml fake(kH100 + kT4);
  const auto before = read_inventory({});
  fake.say(kT4 + kH100);
  EXPECT_EQ(read_inventory({}).devices, before.devices);
}

TEST(Nvml, NamesAModelThatTheCatalogLacksByItsOwnName) {
  const FakeNvml fake(with(kT4, "name=NVIDIA Imaginary 9000"));
  EXPECT_EQ(read_inventory({}).devices.at(0).type, "Imaginary 9000");
}

TEST(Nvml, ReportsTheLinks) {
  const std::string bridged = "nvlinks=00000000:F2:00.0*4";
  const FakeNvml fake(kT4 + with(another(kT4, "1"), bridged) + another(kT4, "2") + kH100 +
                      another(kH100, "4") + "p2p 3 4 0\nancestor 0 1 10\nancestor 0 2 20\n" +
                      "ancestor 0 3 30\nancestor 0 4 40\nancestor 1 2 50\n");
  const auto inventory = read_inventory({});
  const auto& topology = inventory.topology;
  ASSERT_EQ(topology.size(), 5U);  // in bus order: T4 3B, H100 9B, T4 F1, T4 F2, H100 F4
  EXPECT_EQ(topology.link(1, 4), Link::kNvlink);
  EXPECT_EQ(topology.nvlinks(1, 4), 18);
  EXPECT_EQ(topology.link(0, 2), Link::kSingle);
  EXPECT_EQ(topology.link(0, 3), Link::kMultiple);
  EXPECT_EQ(topology.link(0, 1), Link::kHost);
  EXPECT_EQ(topology.link(0, 4), Link::kNode);
  EXPECT_EQ(topology.link(2, 3), Link::kSystem);
  EXPECT_EQ(topology.link(1, 2), Link::kSystem);  // the driver says nothing
}

TEST(Nvml, CountsDirectNvlinksAndIgnoresThoseThatCannotBeUsed) {
  const std::string a = with(another(kH100, "1"), "nvlinks=00000000:F2:00.0*4,00000000:F3:00.0*2");
  const std::string b = with(another(kH100, "2"), "nvlinks=00000000:F1:00.0*4");
  const std::string c = with(another(kH100, "3"), "nvlinks=00000000:F1:00.0*2");
  const FakeNvml fake(a + b + c + "p2p 0 1 0\np2p 0 2 4\np2p 1 2 5\nancestor 0 2 40\n");
  const auto topology = read_inventory({}).topology;
  EXPECT_EQ(topology.nvlinks(0, 1), 4);
  EXPECT_EQ(topology.link(0, 2), Link::kNode);
  EXPECT_EQ(topology.nvlinks(0, 2), 0);
}

TEST(Nvml, BelievesTheDriverWhereAVirtualMachineHidesTheFarEnds) {
  const std::string hidden = "nvlinks=hidden*18";
  const FakeNvml fake(with(another(kH100, "1"), hidden) + with(another(kH100, "2"), hidden) +
                      "p2p 0 1 0\n");
  EXPECT_EQ(read_inventory({}).topology.nvlinks(0, 1), 18);
}

TEST(Nvml, ReportsProcesses) {
  const FakeNvml fake(with(kT4, "processes=2147483000:1000,2147483001:unknown"));
  const auto device = read_inventory({}).devices.at(0);
  const std::vector<DeviceProcess> expected{{2147483000, 1000, "", ""}, {2147483001, 0, "", ""}};
  EXPECT_EQ(device.processes, expected);
  EXPECT_EQ(processes_on(device, 10s), expected);
  EXPECT_TRUE(read_inventory({.processes = false}).devices.at(0).processes.empty());
}

TEST(Nvml, ReadsTheProcessListsOfEveryDriver) {
  const std::string machine = with(kT4, "processes=2147483000:1000,2147483001:2000");
  for (const char* library : {FAKE_NVML_PROCESSES_1_LIBRARY, FAKE_NVML_PROCESSES_535_LIBRARY}) {
    const FakeNvml fake(machine, library);
    const auto processes = read_inventory({}).devices.at(0).processes;
    ASSERT_EQ(processes.size(), 2U) << library;
    EXPECT_EQ(processes[1], (DeviceProcess{2147483001, 2000, "", "", ""})) << library;
  }
}

TEST(Nvml, ReadsMoreProcessesThanItMadeRoomFor) {
  std::string list = "processes=2147483000:1";
  for (int i = 1; i < 500; ++i) list += ",2147483000:1";
  const FakeNvml fake(with(kT4, list));
  EXPECT_EQ(read_inventory({}).devices.at(0).processes.size(), 500U);
}

TEST(Nvml, SaysThatItCannotSayWhoUsesAGpu) {
  const FakeNvml fake(with(kT4, "process_error=3"));
  const auto device = read_inventory({}).devices.at(0);
  EXPECT_EQ(device.trouble, "");
  EXPECT_EQ(processes_on(device, 10s), std::nullopt);
  Device gone = device;
  gone.uuid = "GPU-gone";
  EXPECT_EQ(processes_on(gone, 10s), std::nullopt);
}

TEST(Nvml, KeepsTheOthersWhenOneGpuIsLost) {
  const FakeNvml fake(with(another(kH100, "1"), "handle_error=15") + kT4 +
                      with(another(kH100, "2"), "memory_error=15"));
  const auto inventory = read_inventory({});
  ASSERT_EQ(inventory.devices.size(), 2U);
  EXPECT_EQ(inventory.devices[0].trouble, "");
  EXPECT_NE(inventory.devices[1].trouble.find("GPU is lost"), std::string::npos);
  EXPECT_NE(inventory.reason.find("GPU 0 of the driver is left out: GPU is lost"),
            std::string::npos)
      << inventory.reason;
}

TEST(Nvml, ReportsAnUnreadableFieldAsUnknownNotAsTrouble) {
  const FakeNvml fake(with(kT4, "memory_error=3;pci_error=3;name_error=3"));
  const auto device = read_inventory({}).devices.at(0);
  EXPECT_EQ(device.trouble, "");
  EXPECT_EQ(device.memory_bytes, 0U);
  EXPECT_EQ(device.numa_node, -1);
}

TEST(Nvml, SurvivesHostileAnswers) {
  const FakeNvml fake(with(kT4, "name=endless") + "gpu uuid=;name=x\ngpu uuid=abc\n" +
                      with(another(kT4, "1"), "total=99999999999999999999;cc=x"));
  const auto inventory = read_inventory({});
  ASSERT_EQ(inventory.devices.size(), 2U);
  EXPECT_EQ(inventory.devices[0].name[0], '?');
  EXPECT_LT(inventory.devices[0].name.size(), 100U);
  EXPECT_NE(inventory.reason.find("no UUID"), std::string::npos);
  fake.say("count 3000000000\n" + kT4);
  EXPECT_EQ(read_inventory({}).source, Inventory::Source::kNone);
}

struct Failure {
  std::string machine;
  std::string reason;
};

TEST(Nvml, ExplainsWhyThereIsNoGpu) {
  for (const Failure& failure :
       {Failure{"init 999\n", "systemctl daemon-reload"}, Failure{"init 18\n", "old kernel module"},
        Failure{"init 9\n", "modprobe nvidia"}, Failure{"init 4\n", "/dev/nvidiactl"},
        Failure{"init 77\n", "NVML error 77"}, Failure{"count_error 999\n", "Unknown Error"},
        Failure{"driver 1\n", "reports 0 GPUs"}}) {
    const FakeNvml fake(failure.machine);
    const auto inventory = read_inventory({});
    EXPECT_EQ(inventory.source, Inventory::Source::kNone);
    EXPECT_TRUE(inventory.devices.empty());
    EXPECT_NE(inventory.reason.find(failure.reason), std::string::npos) << inventory.reason;
    EXPECT_NE(inventory.reason.find("IONIAN_GPUS"), std::string::npos) << inventory.reason;
  }
}

TEST(Nvml, RecoversWhenTheDriverDoes) {
  const FakeNvml fake("init 999\n");
  EXPECT_TRUE(read_inventory({}).devices.empty());
  fake.say(kT4);
  EXPECT_EQ(read_inventory({}).devices.size(), 1U);
}

TEST(Nvml, GivesUpACallThatHangsAndRecoversWhenItReturns) {
  const FakeNvml fake("hang nvmlDeviceGetName\n" + kT4);
  const auto hung = read_inventory({.timeout = 50ms});
  EXPECT_EQ(hung.source, Inventory::Source::kNone);
  EXPECT_NE(hung.reason.find("has not answered"), std::string::npos) << hung.reason;
  Device device;
  device.uuid = "GPU-00000000-0000-0000-0000-00000000000b";
  EXPECT_EQ(processes_on(device, 1h), std::nullopt);  // at once: the first call is still inside
  fake.say(kT4);
  fake.release();
  Inventory inventory;
  while ((inventory = read_inventory({})).devices.empty()) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(inventory.devices.at(0).type, "T4");
}

TEST(Nvml, ListsSlicesInPlaceOfAGpuThatIsCut) {
  const FakeNvml fake(
      with(kH100, "mig=1") +
      "slice uuid=MIG-00000000-0000-0000-0000-000000000001;name=NVIDIA H100 80GB HBM3 MIG 1g.10gb;"
      "total=10468982784;processes=2147483000:5\n"
      "slice uuid=MIG-00000000-0000-0000-0000-000000000002;name=NVIDIA H100 80GB HBM3 MIG 3g.40gb;"
      "total=42000000000\n" +
      with(kT4, "mig=0"));
  const auto inventory = read_inventory({});
  ASSERT_EQ(inventory.devices.size(), 3U);
  const auto& slice = inventory.devices[1];
  EXPECT_EQ(slice.uuid, "MIG-00000000-0000-0000-0000-000000000001");
  EXPECT_EQ(slice.type, "MIG-1g.10gb");
  EXPECT_TRUE(slice.mig_enabled);
  EXPECT_EQ(slice.memory_bytes, 10468982784U);
  EXPECT_EQ(slice.compute_major, 9);
  EXPECT_EQ(slice.pci_bus_id, "00000000:9B:00.0");
  EXPECT_EQ(slice.processes.size(), 1U);
  EXPECT_FALSE(inventory.devices[0].mig_enabled);
  EXPECT_EQ(inventory.topology.link(1, 2), Link::kSystem);
}

TEST(Nvml, SaysThatAGpuInMigModeWithoutSlicesCannotBeUsed) {
  const FakeNvml fake(with(kH100, "mig=1"));
  const auto device = read_inventory({}).devices.at(0);
  EXPECT_TRUE(device.mig_enabled);
  EXPECT_NE(device.trouble.find("no slice"), std::string::npos);
}

TEST(Nvml, IsNarrowedByVisibleDevices) {
  const FakeNvml fake(kH100 + kT4);
  const auto one = read_inventory({.visible_devices = "GPU-00000000-0000-0000-0000-00000000000a"});
  ASSERT_EQ(one.devices.size(), 1U);
  EXPECT_EQ(one.devices[0].type, "H100");
  EXPECT_EQ(one.devices[0].index, 0);
  EXPECT_EQ(one.driver_version, "580.95.05");
  const auto none = read_inventory({.visible_devices = "-1"});
  EXPECT_EQ(none.source, Inventory::Source::kNvml);
  EXPECT_NE(none.reason.find("hides every GPU of this machine, of which there are 2"),
            std::string::npos)
      << none.reason;
}

}  // namespace
}  // namespace ionian
