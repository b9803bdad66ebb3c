// The table of what a name is granted, for every match.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ionian/gpu_request.hpp"
#include "ionian/inventory.hpp"

namespace ionian {
namespace {

constexpr GpuMatch kMatches[] = {GpuMatch::kExact, GpuMatch::kUpgrade, GpuMatch::kAtLeast,
                                 GpuMatch::kPretend};

/// One GPU of every kind that the rows below speak of.
const std::vector<Device>& devices() {
  static const auto all =
      read_inventory({.simulate = "T4,L4,A10G,L40S,A100-40GB,A100-80GB,H100,H200,B200,B300,GB200,"
                                  "V100-32GB,RTX4090,RTX5090"})
          .devices;
  return all;
}

std::string granted(const std::string& request, GpuMatch match) {
  const auto item = GpuRequest::parse(request).alternatives().front();
  std::string types;
  for (const auto& device : devices()) {
    if (item.accepts(device, match)) types += (types.empty() ? "" : " ") + device.type;
  }
  return types;
}

struct Row {
  const char* request;
  const char* exact;
  const char* upgrade;
  const char* at_least;
};

TEST(GpuMatching, GrantsWhatTheTableSays) {
  const std::string all =
      "T4 L4 A10G L40S A100-40GB A100-80GB H100 H200 B200 B300 GB200 V100-32GB RTX4090 RTX5090";
  for (const Row& row : {
           Row{"A10", "A10G", "A10G", "L4 A10G L40S H100 H200 B200 B300 GB200 RTX4090 RTX5090"},
           Row{"A100", "A100-40GB A100-80GB", "A100-40GB A100-80GB",
               "L40S A100-40GB A100-80GB H100 H200 B200 B300 GB200"},
           Row{"A100-40GB", "A100-40GB", "A100-40GB",
               "L40S A100-40GB A100-80GB H100 H200 B200 B300 GB200"},
           Row{"A100-80GB", "A100-80GB", "A100-80GB", "A100-80GB H100 H200 B200 B300 GB200"},
           Row{"A100!", "A100-40GB A100-80GB", "A100-40GB A100-80GB", "A100-40GB A100-80GB"},
           Row{"H100", "H100", "H100 H200", "H100 H200 B200 B300 GB200"},
           Row{"H100!", "H100", "H100", "H100"},
           Row{"H100+", "H100 H200 B200 B300 GB200", "H100 H200 B200 B300 GB200",
               "H100 H200 B200 B300 GB200"},
           Row{"B200", "B200", "B200", "B200 B300 GB200"},
           Row{"B200+", "B200 B300 GB200", "B200 B300 GB200", "B200 B300 GB200"},
           Row{"B300+", "B300", "B300", "B300"},
           Row{"RTX4090+", "RTX4090 RTX5090", "RTX4090 RTX5090",
               "L4 L40S H100 H200 B200 B300 GB200 RTX4090 RTX5090"},
           Row{"V100", "V100-32GB", "V100-32GB", all.c_str()},
           Row{"V100-16GB", "", "", all.c_str()},
           Row{"80GB", "A100-80GB H100 H200 B200 B300 GB200", "A100-80GB H100 H200 B200 B300 GB200",
               "A100-80GB H100 H200 B200 B300 GB200"},
           Row{"80GB!", "A100-80GB H100", "A100-80GB H100", "A100-80GB H100"},
           Row{"1000GB", "", "", ""},
           Row{"any", all.c_str(), all.c_str(), all.c_str()},
       }) {
    EXPECT_EQ(granted(row.request, GpuMatch::kExact), row.exact) << row.request;
    EXPECT_EQ(granted(row.request, GpuMatch::kUpgrade), row.upgrade) << row.request;
    EXPECT_EQ(granted(row.request, GpuMatch::kAtLeast), row.at_least) << row.request;
    EXPECT_EQ(granted(row.request, GpuMatch::kPretend), all) << row.request;
  }
}

TEST(GpuMatching, NewerNeverMeansSmallerNorAnotherLine) {
  const auto newer = read_inventory({.simulate = "RTX5080,RTX5090,RTX-PRO-6000"}).devices;
  const auto item = GpuRequest::parse("RTX4090+").alternatives().front();
  EXPECT_FALSE(item.accepts(newer[0], GpuMatch::kUpgrade));  // 16 GB
  EXPECT_TRUE(item.accepts(newer[1], GpuMatch::kUpgrade));
  EXPECT_FALSE(item.accepts(newer[2], GpuMatch::kUpgrade));  // no GeForce
}

TEST(GpuMatching, AUuidIsOneGpuUnderEveryMatch) {
  const auto& device = devices().at(3);
  for (const auto match : kMatches) {
    EXPECT_EQ(granted(device.uuid, match), device.type);
    EXPECT_EQ(granted("GPU-00000000-0000-0000-0000-000000000000", match), "");
  }
}

TEST(GpuMatching, ASliceServesAnyMemoryAndItsUuidButNoNameAndNoGang) {
  Device slice;
  slice.uuid = "MIG-01234567-89ab-cdef-0123-456789abcdef";
  slice.name = "NVIDIA A100-SXM4-40GB MIG 3g.20gb";
  slice.type = "MIG-3g.20gb";
  slice.memory_bytes = std::uint64_t{20} << 30;
  slice.compute_major = 8;
  slice.mig_enabled = true;
  const auto accepts = [&](const std::string& request, GpuMatch match) {
    return GpuRequest::parse(request).alternatives().front().accepts(slice, match);
  };
  for (const auto match : kMatches) {
    EXPECT_TRUE(accepts("any", match));
    EXPECT_TRUE(accepts("16GB", match));
    EXPECT_TRUE(accepts(slice.uuid, match));
    EXPECT_FALSE(accepts("any:2", match));
    EXPECT_FALSE(accepts("10GB:2", match));
    EXPECT_EQ(accepts("A100", match), match == GpuMatch::kPretend);
    EXPECT_EQ(accepts("T4", match), match == GpuMatch::kPretend);
    EXPECT_EQ(accepts("40GB", match), match == GpuMatch::kPretend);
  }
}

TEST(GpuMatching, AnUnknownModelServesAnyAndItsMemory) {
  Device device;
  device.uuid = "GPU-01234567-89ab-cdef-0123-456789abcdef";
  device.name = "NVIDIA Imaginary 9000";
  device.type = "Imaginary 9000";
  device.memory_bytes = std::uint64_t{48} << 30;
  device.compute_major = 15;
  const auto accepts = [&](const std::string& request, GpuMatch match) {
    return GpuRequest::parse(request).alternatives().front().accepts(device, match);
  };
  EXPECT_TRUE(accepts("any", GpuMatch::kExact));
  EXPECT_TRUE(accepts("48GB", GpuMatch::kExact));
  EXPECT_FALSE(accepts("L40S+", GpuMatch::kUpgrade));
  EXPECT_TRUE(accepts("L40S", GpuMatch::kAtLeast));
  EXPECT_FALSE(accepts("H100", GpuMatch::kAtLeast));
}

}  // namespace
}  // namespace ionian
