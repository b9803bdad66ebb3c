#include "ionian/catalog.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <utility>

#include "gpu/text.hpp"

namespace ionian {
namespace {

TEST(Catalog, GivesEachNameToOneTypeOnly) {
  std::map<std::string, std::string_view> owner;
  for (const auto& model : catalog()) {
    for (const auto alias : model.aliases) {
      const auto [found, fresh] = owner.emplace(text::upper(alias), model.type);
      EXPECT_TRUE(fresh || found->second == model.type) << alias;
    }
  }
  for (const auto& model : catalog()) {
    const auto found = owner.find(text::upper(model.type));
    EXPECT_TRUE(found == owner.end() || found->second == model.type) << model.type;
  }
}

TEST(Catalog, IdentifiesEveryNvmlNameAsTheRowThatListsIt) {
  for (const auto& model : catalog()) {
    for (const auto name : model.nvml_names) {
      const auto* found =
          identify("NVIDIA " + std::string(name), std::uint64_t{model.memory_gb} << 30);
      ASSERT_NE(found, nullptr) << name;
      EXPECT_EQ(found->type, model.type) << name;
      EXPECT_EQ(found->memory_gb, model.memory_gb) << name;
    }
  }
}

TEST(Catalog, IsOrderedByArchitectureAndEveryRowIsWhole) {
  std::pair<int, int> last{0, 0};
  for (const auto& model : catalog()) {
    const std::pair compute{model.compute_major, model.compute_minor};
    EXPECT_LE(last, compute) << model.type;
    last = compute;
    EXPECT_GT(model.memory_gb, 0U) << model.type;
    EXPECT_GT(model.bandwidth_gbs, 0) << model.type;
    EXPECT_FALSE(model.family.empty() || model.architecture.empty() || model.source.empty());
    ASSERT_FALSE(model.grants.empty()) << model.type;
    for (const auto type : model.grants) {
      const auto* granted = find_model(type);
      ASSERT_NE(granted, nullptr) << type;
      EXPECT_FALSE(granted->nvml_names.empty()) << type << " can be on a machine";
    }
    for (const double rate : {model.tf32, model.bf16, model.fp8}) {
      EXPECT_TRUE(rate == 0 || rate <= model.int8 || model.int8 == 0) << model.type;
    }
  }
}

struct Known {
  const char* nvml_name;
  std::uint64_t mib;
  const char* type;
};

TEST(Catalog, KnowsGpusAsDriversReportThem) {
  for (const Known& known :
       {Known{"Tesla T4", 15360, "T4"}, Known{"NVIDIA A10G", 23028, "A10G"},
        Known{"NVIDIA A10", 23028, "A10G"}, Known{"NVIDIA A100-SXM4-40GB", 40960, "A100-40GB"},
        Known{"NVIDIA A100 80GB PCIe", 81920, "A100-80GB"},
        Known{"NVIDIA H100 80GB HBM3", 81559, "H100"}, Known{"NVIDIA H100 NVL", 95830, "H100"},
        Known{"NVIDIA H200", 143771, "H200"}, Known{"NVIDIA B200", 183359, "B200"},
        Known{"NVIDIA B300 SXM6 AC", 275040, "B300"},
        Known{"NVIDIA GeForce RTX 4090", 24564, "RTX4090"},
        Known{"GeForce RTX 2080 Ti", 11019, "RTX2080-TI"},
        Known{"NVIDIA GeForce RTX 4090 Laptop GPU", 16376, "RTX4090-LAPTOP"},
        Known{"Quadro RTX 8000", 48601, "QUADRO-RTX-8000"},
        Known{"NVIDIA RTX A6000", 49140, "RTX-A6000"},
        Known{"NVIDIA RTX 6000 Ada Generation", 49140, "RTX-6000-ADA"},
        Known{"Tesla V100-SXM2-16GB", 16160, "V100-16GB"},
        Known{"NVIDIA TITAN RTX", 24576, "TITAN-RTX"}}) {
    const auto* model = identify(known.nvml_name, known.mib << 20);
    ASSERT_NE(model, nullptr) << known.nvml_name;
    EXPECT_EQ(model->type, known.type) << known.nvml_name;
  }
  EXPECT_EQ(identify("NVIDIA Imaginary 9000", 1), nullptr);
  EXPECT_EQ(identify("NVIDIA A100-SXM4-40GB MIG 1g.5gb", std::uint64_t{5} << 30), nullptr);
}

TEST(Catalog, TellsFormsApartByMemoryWhereTheNameDoesNot) {
  EXPECT_EQ(identify("NVIDIA GeForce RTX 3080", std::uint64_t{10240} << 20)->bandwidth_gbs, 760);
  EXPECT_EQ(identify("NVIDIA GeForce RTX 3080", std::uint64_t{12288} << 20)->bandwidth_gbs, 912);
}

TEST(Catalog, StatesDenseRatesAndListPrices) {
  EXPECT_DOUBLE_EQ(find_model("H100")->bf16, 989.4);
  EXPECT_DOUBLE_EQ(find_model("A100-80GB")->bf16, 312);
  EXPECT_DOUBLE_EQ(find_model("RTX4090")->bf16, 165.2);
  EXPECT_DOUBLE_EQ(find_model("T4")->fp16, 65);
  EXPECT_DOUBLE_EQ(find_model("T4")->bf16, 0);
  EXPECT_DOUBLE_EQ(find_model("a10")->usd_per_second.value(), 0.000306);
  EXPECT_FALSE(find_model("RTX4090")->usd_per_second);
}

Device device_of(const char* type) {
  Device device;
  device.type = type;
  return device;
}

TEST(Preference, GivesTheSmallestAwayFirst) {
  int last = 0;
  for (const char* type : {"T4", "L4", "A10G", "RTX3060", "RTX3090", "L40S", "A100-40GB",
                           "A100-80GB", "RTX-PRO-6000", "H100", "H200", "B200", "B300"}) {
    EXPECT_LT(last, preference(device_of(type))) << type;
    last = preference(device_of(type));
  }
}

TEST(Preference, PutsAnUnknownGpuAfterTheThreeSmallest) {
  Device unknown = device_of("Imaginary 9000");
  unknown.memory_bytes = std::uint64_t{4} << 30;
  EXPECT_GT(preference(unknown), preference(device_of("A10G")));
}

TEST(MemoryGb, RoundsAnUnknownGpuInItsFavour) {
  Device device = device_of("Imaginary");
  device.memory_bytes = std::uint64_t{24564} << 20;
  EXPECT_EQ(memory_gb(device), 25U);
  device.memory_bytes = std::uint64_t{11441} << 20;
  EXPECT_EQ(memory_gb(device), 12U);
  device.memory_bytes = 0;
  EXPECT_EQ(memory_gb(device), 0U);
}

}  // namespace
}  // namespace ionian
