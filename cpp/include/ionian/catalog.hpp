// catalog.hpp: the GPU models that a request can name, as data, each figure with its source.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "ionian/device.hpp"

namespace ionian {

/// One model. Rates are dense peaks (no sparsity) in TFLOP/s, TOP/s for int8: fp32 of the plain
/// cores, fp64 of the fastest unit, the rest of the tensor cores accumulating in fp32 (int32 for
/// int8). 0 means that the part lacks the type or that no source states it. All views point at
/// static storage.
///
/// Several rows may have one type where a product comes in several forms (H100: SXM, PCIe, NVL). A
/// row without `nvml_names` is a name for requests only ("A100": either size).
struct GpuModel {
  std::string_view type;          // canonical name in `gpu=`, e.g. "A100-80GB"
  std::string_view family;        // the line that "+" climbs: "data center", "GeForce", ...
  std::string_view architecture;  // "Ampere"
  int compute_major = 0;
  int compute_minor = 0;
  std::uint32_t memory_gb = 0;  // marketing gigabytes: what a "40GB" request compares with
  double bandwidth_gbs = 0;     // GB/s
  double fp64 = 0;
  double fp32 = 0;
  double tf32 = 0;
  double fp16 = 0;
  double bf16 = 0;
  double fp8 = 0;
  double int8 = 0;
  std::optional<double> usd_per_second;      // list price, where the service publishes one
  std::span<const std::string_view> grants;  // types that a plain request of this name may be given
  std::span<const std::string_view> aliases;     // other spellings in `gpu=`, e.g. "A10" for "A10G"
  std::span<const std::string_view> nvml_names;  // as NVML reports it, less "NVIDIA " and "Tesla "
  std::string_view source;                       // where the figures come from
};

/// Returns every row, oldest architecture first.
std::span<const GpuModel> catalog();

/// Returns the model called `name` or one of its aliases, ignoring case; nullptr if there is none.
/// Of several rows with one type, the first: the form that the service offers.
const GpuModel* find_model(std::string_view name);

/// Returns the row that NVML calls `nvml_name` with that much memory (memory tells apart the forms
/// that share a name); nullptr if the catalog does not know it.
const GpuModel* identify(std::string_view nvml_name, std::uint64_t memory_bytes);

/// Returns the row of `device`, by its name or else by its type; nullptr if there is none.
const GpuModel* model_of(const Device& device);

/// Returns the memory of `device` in marketing gigabytes: the catalog's figure, else its own size
/// rounded in its favour.
std::uint32_t memory_gb(const Device& device);

/// Returns how costly it is to give `device` away, so that "any" takes the smallest first: T4, L4,
/// A10G, then the rest by list price or an estimate of it. Equal for equal models.
int preference(const Device& device);

}  // namespace ionian
