#include "gpu/split.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ionian/error.hpp"
#include "support/machines.hpp"

namespace ionian {
namespace {

TEST(Split, GivesEachGpuThatManySlicesOfItsModel) {
  const auto whole = machines::machine({machines::kH100, machines::kT4}, Link::kNvlink);
  const auto slices = split(whole, 2);
  ASSERT_EQ(slices.devices.size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) {
    const Device& gpu = whole.devices[i / 2];
    const Device& slice = slices.devices[i];
    EXPECT_EQ(slice.uuid, gpu.uuid + "/" + std::to_string(i % 2));
    EXPECT_EQ(gpu_of(slice.uuid), gpu.uuid);
    EXPECT_TRUE(is_slice(slice.uuid));
    EXPECT_EQ(slice.type, gpu.type);
    EXPECT_EQ(slice.memory_bytes, gpu.memory_bytes / 2);
    EXPECT_EQ(slice.index, static_cast<int>(i));
  }
  EXPECT_EQ(slices.topology.link(0, 1), Link::kSelf);
  EXPECT_EQ(slices.topology.link(0, 2), Link::kNvlink);
}

TEST(Split, ByOneChangesNothing) {
  const auto whole = machines::machine({machines::kA10G});
  EXPECT_EQ(split(whole, 1).devices, whole.devices);
}

TEST(ParseSplit, TakesWholeNumbersInRange) {
  EXPECT_EQ(parse_split("1"), 1);
  EXPECT_EQ(parse_split("16"), 16);
  for (const char* text : {"", "0", "-1", "17", "2x", " 2", "2.0", "99999999999999999999"}) {
    EXPECT_THROW(parse_split(text), InvalidError) << text;
  }
}

}  // namespace
}  // namespace ionian
