#include "ionian/inventory.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "ionian/error.hpp"

namespace ionian {
namespace {

/// Sets variables of the environment for the length of a test.
class InventoryEnvironment : public ::testing::Test {
 protected:
  void TearDown() override {
    for (const char* name :
         {"IONIAN_GPUS", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "IONIAN_NVML_LIBRARY"}) {
      ::unsetenv(name);
    }
  }
};

TEST_F(InventoryEnvironment, SaysWhatToDoWithoutAGpu) {
  ::setenv("IONIAN_NVML_LIBRARY", "/nowhere/libnvidia-ml.so.1", 1);
  const auto inventory = read_inventory(InventoryOptions::from_environment());
  EXPECT_EQ(inventory.source, Inventory::Source::kNone);
  EXPECT_TRUE(inventory.devices.empty());
  EXPECT_NE(inventory.reason.find("/nowhere/libnvidia-ml.so.1"), std::string::npos);
  EXPECT_NE(inventory.reason.find("IONIAN_GPUS"), std::string::npos) << inventory.reason;
}

TEST_F(InventoryEnvironment, SaysThatALibraryIsNotNvml) {
  ::setenv("IONIAN_NVML_LIBRARY", NOT_NVML_LIBRARY, 1);
  const auto inventory = read_inventory({});
  EXPECT_EQ(inventory.source, Inventory::Source::kNone);
  EXPECT_NE(inventory.reason.find("lacks nvmlInit_v2"), std::string::npos) << inventory.reason;
}

TEST_F(InventoryEnvironment, IsReadFromTheEnvironment) {
  ::setenv("IONIAN_GPUS", "A10G:4", 1);
  ::setenv("CUDA_VISIBLE_DEVICES", "2,1", 1);
  ::setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID", 1);
  const auto options = InventoryOptions::from_environment();
  EXPECT_TRUE(options.pci_bus_order);
  EXPECT_EQ(read_inventory(options).devices.size(), 2U);
}

TEST_F(InventoryEnvironment, AnEmptyMaskHidesAllAndAnEmptySimulationIsNone) {
  ::setenv("IONIAN_GPUS", "", 1);
  EXPECT_FALSE(InventoryOptions::from_environment().simulate);
  ::setenv("IONIAN_GPUS", "A10G:4", 1);
  ::setenv("CUDA_VISIBLE_DEVICES", "", 1);
  const auto inventory = read_inventory(InventoryOptions::from_environment());
  EXPECT_TRUE(inventory.devices.empty());
  EXPECT_EQ(inventory.topology.size(), 0U);
  EXPECT_NE(inventory.reason.find("hides every GPU"), std::string::npos) << inventory.reason;
}

TEST_F(InventoryEnvironment, AMalformedSimulationIsAnError) {
  ::setenv("IONIAN_GPUS", "A10G:two", 1);
  EXPECT_THROW(read_inventory(InventoryOptions::from_environment()), InvalidError);
}

TEST(Topology, IsSymmetricAndComparesByQuality) {
  Topology topology(3);
  topology.set(2, 0, Link::kNvlink, 4);
  EXPECT_EQ(topology.link(0, 2), Link::kNvlink);
  EXPECT_EQ(topology.nvlinks(0, 2), 4);
  EXPECT_EQ(topology.link(0, 1), Link::kSystem);
  EXPECT_EQ(topology.link(1, 1), Link::kSelf);
  EXPECT_LT(Link::kSystem, Link::kNode);
  EXPECT_LT(Link::kSingle, Link::kNvlink);
  EXPECT_EQ(to_string(Link::kSingle), "PIX");
  EXPECT_EQ(Topology().size(), 0U);
}

}  // namespace
}  // namespace ionian
