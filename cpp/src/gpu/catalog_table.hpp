// catalog_table.hpp: the rows of the catalog as they are written down.
#pragma once

#include <cstdint>
#include <span>

namespace ionian::catalog_table {

/// A row with every figure. Lists are separated by '|'.
struct FullRow {
  const char* type;
  const char* nvml_names;
  const char* family;
  const char* architecture;
  int compute;  // 86 for 8.6
  std::uint32_t memory_gb;
  double bandwidth_gbs;
  double fp64, fp32, tf32, fp16, bf16, fp8, int8;
  double usd_per_second;  // 0: no price
  const char* aliases;
  const char* grants;  // "": itself
  const char* source;
};

/// A card whose tensor rates follow from fp32 by the ratios of its chip family.
struct CardRow {
  const char* type;
  const char* nvml_names;
  std::uint32_t memory_gb;
  double bandwidth_gbs;
  double fp32;  // at boost clock; 0 where it depends on the maker's power limit
  const char* aliases = "";
};

/// Cards of one line and one chip family. Each ratio is that rate over fp32.
struct CardGroup {
  const char* family;
  const char* architecture;
  int compute;
  double fp64, tf32, fp16, bf16, fp8, int8;
  const char* source;
  std::span<const CardRow> rows;
};

std::span<const FullRow> data_center();
std::span<const CardGroup> cards();

}  // namespace ionian::catalog_table
