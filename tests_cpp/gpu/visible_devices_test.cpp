#include "gpu/visible_devices.hpp"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <string>
#include <vector>

#include "support/machines.hpp"

namespace ionian {
namespace {

/// Four GPUs and two slices; the first two UUIDs begin alike.
std::vector<Device> devices() {
  std::vector<Device> all(6);
  all[0].uuid = "GPU-aa000000-0000-0000-0000-000000000000";
  all[1].uuid = "GPU-aa100000-0000-0000-0000-000000000000";
  all[2].uuid = "GPU-bb000000-0000-0000-0000-000000000000";
  all[3].uuid = "GPU-cc000000-0000-0000-0000-000000000000";
  all[4].uuid = "MIG-dd000000-0000-0000-0000-000000000000";
  all[5].uuid = "MIG-ee000000-0000-0000-0000-000000000000";
  return all;
}

struct Case {
  std::string mask;
  std::vector<std::size_t> positions;
};

TEST(VisibleDevices, AreReadAsCudaReadsThem) {
  for (const Case& each : {
           Case{"", {}},
           Case{"-1", {}},
           Case{"0", {0}},
           Case{"3,1", {3, 1}},
           Case{" 1 , 0", {1, 0}},
           Case{"+2", {2}},
           Case{"0,0", {}},
           Case{"0,1,0", {}},
           Case{"0,foo,1", {0}},
           Case{"0,-1,1", {0}},
           Case{"0,,1", {0}},
           Case{"foo", {}},
           Case{"0,6,1", {0}},
           Case{"1gpu2,2ampere", {1, 2}},
           Case{"01,1", {}},
           Case{"99999999999999999999,0", {}},
           Case{"GPU-aa0", {0}},
           Case{"GPU-aa", {}},  // two begin like this
           Case{"GPU-bb,GPU-aa1", {2, 1}},
           Case{"gpu-bb", {}},  // CUDA wants the prefix in capitals
           Case{"GPU-BB", {2}},
           Case{"GPU-", {}},
           Case{"GPU-x", {}},
           Case{"GPU-bb,GPU-x,GPU-cc", {2}},
           Case{"GPU-bb,GPU-bb", {}},
           Case{"GPU-bb,0", {2}},
           Case{"0,GPU-bb", {0}},
           Case{"MIG-dd000000-0000-0000-0000-000000000000", {4}},
           Case{"MIG-dd,MIG-ee", {4, 5}},
           Case{"MIG-dd,GPU-bb", {4}},
           Case{"GPU-bb,MIG-dd", {2}},
           Case{"MIG-ff", {}},
       }) {
    EXPECT_EQ(visible_positions(each.mask, devices()), each.positions) << '"' << each.mask << '"';
  }
}

TEST(VisibleDevices, NeverShowMoreThanTheMaskNamesNorOneTwice) {
  std::mt19937 random(7);
  const auto all = devices();
  const std::string letters = "0123456,,,-+ GPUMIG-aabbccdd";
  for (int i = 0; i < 20000; ++i) {
    std::string mask;
    for (auto n = random() % 24; n-- > 0;) mask += letters[random() % letters.size()];
    const auto positions = visible_positions(mask, all);
    const auto commas = static_cast<std::size_t>(std::count(mask.begin(), mask.end(), ','));
    ASSERT_LE(positions.size(), commas + 1) << mask;
    ASSERT_EQ(std::set(positions.begin(), positions.end()).size(), positions.size()) << mask;
    for (const auto position : positions) ASSERT_LT(position, all.size()) << mask;
  }
}

TEST(VisibleDevices, NarrowKeepsTheLinksOfThoseThatStay) {
  const auto all = machines::dgx_v100();
  const auto some = narrow(all, {7, 0, 4});
  ASSERT_EQ(some.devices.size(), 3U);
  EXPECT_EQ(some.devices[0].uuid, all.devices[7].uuid);
  EXPECT_EQ(some.devices[2].index, 2);
  EXPECT_EQ(some.topology.nvlinks(0, 2), all.topology.nvlinks(7, 4));
  EXPECT_EQ(some.topology.link(0, 1), all.topology.link(7, 0));
  EXPECT_EQ(some.topology.link(1, 1), Link::kSelf);
  EXPECT_EQ(narrow(all, {}).devices.size(), 0U);
}

TEST(VisibleDevices, NumbersAreAmbiguousOnlyBetweenModels) {
  EXPECT_TRUE(is_ambiguous("0", machines::mixed().devices));
  EXPECT_FALSE(is_ambiguous("0", machines::dgx_h100().devices));
  EXPECT_FALSE(is_ambiguous(machines::mixed().devices[0].uuid, machines::mixed().devices));
  EXPECT_FALSE(is_ambiguous("-1", machines::mixed().devices));
}

}  // namespace
}  // namespace ionian
