// catalog.hpp: the GPU models that a request can name, as data, each figure with its source.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace ionian {

/// One model. Rates are dense peaks in TFLOP/s (TOP/s for int8), 0 if the part lacks the type or no
/// source states it. All views point at static storage.
struct GpuModel {
  std::string_view type;          // canonical name in `gpu=`, e.g. "A100-80GB"
  std::string_view family;        // what names share a line: "A100", "H100", "GeForce 40", ...
  std::string_view architecture;  // "Ampere"
  int compute_major = 0;
  int compute_minor = 0;
  std::uint32_t memory_gb = 0;  // marketing gigabytes: what a "40GB" request compares with
  double bandwidth_gbs = 0;     // GB/s
  double fp64 = 0;
  double fp32 = 0;
  double tf32 = 0;
  double bf16 = 0;
  double fp8 = 0;
  double int8 = 0;
  std::optional<double> usd_per_second;  // list price, where the service publishes one
  std::span<const std::string_view> aliases;     // other spellings in `gpu=`, e.g. "A10" for "A10G"
  std::span<const std::string_view> nvml_names;  // names that NVML reports for it
  std::string_view source;                       // where the figures come from
};

/// Returns every model, oldest architecture first.
std::span<const GpuModel> catalog();

/// Returns the model called `name` or one of its aliases, ignoring case; nullptr if there is none.
const GpuModel* find_model(std::string_view name);

/// Returns the model that NVML calls `nvml_name` with that much memory (memory tells an A100-40GB
/// from an A100-80GB where the name does not); nullptr if the catalog does not know it.
const GpuModel* identify(std::string_view nvml_name, std::uint64_t memory_bytes);

}  // namespace ionian
