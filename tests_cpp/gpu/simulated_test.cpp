#include <gtest/gtest.h>

#include <set>
#include <string>

#include "ionian/error.hpp"
#include "ionian/inventory.hpp"

namespace ionian {
namespace {

Inventory simulated(const std::string& spec) { return read_inventory({.simulate = spec}); }

TEST(Simulated, HasTheGpusThatTheTextNames) {
  const auto inventory = simulated("a10:2,H100:8");
  EXPECT_EQ(inventory.source, Inventory::Source::kSimulated);
  EXPECT_EQ(inventory.reason, "");
  ASSERT_EQ(inventory.devices.size(), 10U);
  EXPECT_EQ(inventory.topology.size(), 10U);
  std::set<std::string> uuids;
  for (std::size_t i = 0; i < 10; ++i) {
    const auto& device = inventory.devices[i];
    EXPECT_EQ(device.index, static_cast<int>(i));
    EXPECT_EQ(device.type, i < 2 ? "A10G" : "H100");
    EXPECT_TRUE(device.simulated);
    EXPECT_TRUE(device.processes.empty());
    EXPECT_EQ(inventory.find(device.uuid), &device);
    uuids.insert(device.uuid);
  }
  EXPECT_EQ(uuids.size(), 10U);
  EXPECT_EQ(inventory.devices[0].memory_bytes, std::uint64_t{24} << 30);
  EXPECT_EQ(inventory.find("GPU-nothing"), nullptr);
}

// These are fixed for ever: programs of different versions exclude each other by them.
TEST(Simulated, NamesTheSameGpusInEveryProcess) {
  EXPECT_EQ(simulated("A10G").devices[0].uuid, "GPU-7f5c63bb-523e-824e-bd50-048b9ef29389");
  EXPECT_EQ(simulated("T4,A10G:2").devices[2].uuid, "GPU-a76c4ab0-04f5-8a5e-8f31-9ec33165124f");
  EXPECT_EQ(simulated("A10G,A10G").devices, simulated("A10G:2").devices);
}

TEST(Simulated, LinksModelsOfNvlinkBoardsAllToAll) {
  const auto topology = simulated("H100:8").topology;
  for (std::size_t a = 0; a < 8; ++a) {
    for (std::size_t b = 0; b < 8; ++b) {
      EXPECT_EQ(topology.link(a, b), a == b ? Link::kSelf : Link::kNvlink);
      EXPECT_EQ(topology.nvlinks(a, b), a == b ? 0 : 18);
    }
  }
  EXPECT_EQ(simulated("A100-80GB:2").topology.nvlinks(0, 1), 12);
  EXPECT_EQ(simulated("A100:2").devices[0].type, "A100-40GB");
}

TEST(Simulated, PutsOtherModelsOnAPcieTree) {
  const auto eight = simulated("L4:8");
  EXPECT_EQ(eight.topology.link(0, 1), Link::kSingle);
  EXPECT_EQ(eight.topology.link(0, 2), Link::kNode);
  EXPECT_EQ(eight.topology.link(3, 4), Link::kSystem);
  EXPECT_EQ(eight.devices[3].numa_node, 0);
  EXPECT_EQ(eight.devices[4].numa_node, 1);
  const auto four = simulated("L4:4");
  EXPECT_EQ(four.devices[3].numa_node, 0);
  EXPECT_EQ(four.topology.link(0, 3), Link::kNode);
}

struct Bad {
  std::string spec;
  std::size_t position;
};

TEST(Simulated, RejectsMalformedTextWithItsPosition) {
  for (const Bad& bad :
       {Bad{"", 0}, Bad{",", 0}, Bad{"A10G:2,", 7}, Bad{"A10G:2,,H100", 7}, Bad{"A10G:0", 5},
        Bad{"A10G:2,H100:x", 12}, Bad{"A10G:2, H100", 7}, Bad{"foo", 0}, Bad{"T4,any:2", 3},
        Bad{"40GB", 0}, Bad{"H100!", 0}, Bad{"T4:1024,L4", 8}, Bad{"T4:99999", 0}}) {
    try {
      simulated(bad.spec);
      FAIL() << bad.spec;
    } catch (const InvalidError& error) {
      const std::string message = error.what();
      EXPECT_NE(message.find("] at byte " + std::to_string(bad.position) + ":"), std::string::npos)
          << message;
      EXPECT_LT(message.find('\n'), 200U) << message;
    }
  }
  EXPECT_THROW(simulated(std::string(1 << 20, 'x')), InvalidError);
  EXPECT_EQ(simulated("T4:1024").devices.size(), 1024U);
}

TEST(Simulated, IsNarrowedByVisibleDevices) {
  const auto all = simulated("A10G:2,H100:2");
  const auto some = read_inventory({.simulate = "A10G:2,H100:2", .visible_devices = "3,0,2"});
  ASSERT_EQ(some.devices.size(), 3U);
  EXPECT_EQ(some.devices[0].uuid, all.devices[3].uuid);
  EXPECT_EQ(some.devices[0].index, 0);
  EXPECT_EQ(some.devices[1].uuid, all.devices[0].uuid);
  EXPECT_EQ(some.topology.link(0, 2), Link::kNvlink);
  EXPECT_EQ(some.topology.link(0, 1), all.topology.link(3, 0));
  EXPECT_NE(some.reason.find("PCI bus order"), std::string::npos);
  const auto ordered = read_inventory(
      {.simulate = "A10G:2,H100:2", .visible_devices = "3,0,2", .pci_bus_order = true});
  EXPECT_EQ(ordered.reason, "");
}

TEST(Simulated, HasNoStrangers) {
  const auto device = simulated("T4").devices[0];
  EXPECT_EQ(processes_on(device, std::chrono::milliseconds(1)), std::vector<DeviceProcess>{});
}

}  // namespace
}  // namespace ionian
