#include "ionian/catalog.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "gpu/catalog_table.hpp"
#include "gpu/text.hpp"

namespace ionian {
namespace {

/// The rows, and the storage that their views point at. Built once, never changed.
class Catalog {
 public:
  Catalog() {
    for (const auto& row : catalog_table::data_center()) add(row);
    for (const auto& group : catalog_table::cards()) {
      for (const auto& row : group.rows) add(group, row);
    }
    std::stable_sort(models_.begin(), models_.end(), [](const GpuModel& a, const GpuModel& b) {
      return std::pair(a.compute_major, a.compute_minor) <
             std::pair(b.compute_major, b.compute_minor);
    });
    for (const auto& model : models_) {
      by_name_.emplace(text::upper(model.type), &model);  // of rows with one type the first stays
      for (const auto alias : model.aliases) by_name_.emplace(text::upper(alias), &model);
      for (const auto name : model.nvml_names) by_nvml_name_[text::upper(name)].push_back(&model);
    }
  }
  [[nodiscard]] std::span<const GpuModel> models() const { return models_; }
  [[nodiscard]] const GpuModel* find(std::string_view name) const {
    const auto found = by_name_.find(text::upper(name));
    return found == by_name_.end() ? nullptr : found->second;
  }
  /// Returns the rows that share an NVML name.
  [[nodiscard]] std::span<const GpuModel* const> named(std::string_view nvml_name) const {
    const auto found = by_nvml_name_.find(text::upper(nvml_name));
    if (found == by_nvml_name_.end()) return {};
    return found->second;
  }

 private:
  void add(const catalog_table::FullRow& row) {
    GpuModel model;
    model.type = row.type;
    model.family = row.family;
    model.architecture = row.architecture;
    model.compute_major = row.compute / 10;
    model.compute_minor = row.compute % 10;
    model.memory_gb = row.memory_gb;
    model.bandwidth_gbs = row.bandwidth_gbs;
    model.fp64 = row.fp64;
    model.fp32 = row.fp32;
    model.tf32 = row.tf32;
    model.fp16 = row.fp16;
    model.bf16 = row.bf16;
    model.fp8 = row.fp8;
    model.int8 = row.int8;
    if (row.usd_per_second > 0) model.usd_per_second = row.usd_per_second;
    model.grants = list(*row.grants != '\0' ? row.grants : row.type);
    model.aliases = keep(spellings(row.type, row.aliases));
    model.nvml_names = list(row.nvml_names);
    model.source = row.source;
    models_.push_back(model);
  }

  void add(const catalog_table::CardGroup& group, const catalog_table::CardRow& row) {
    const auto rate = [&](double ratio) { return std::round(row.fp32 * ratio * 100) / 100; };
    add({row.type, row.nvml_names, group.family, group.architecture, group.compute, row.memory_gb,
         row.bandwidth_gbs, rate(group.fp64), row.fp32, rate(group.tf32), rate(group.fp16),
         rate(group.bf16), rate(group.fp8), rate(group.int8), 0, row.aliases, "", group.source});
  }

  /// Returns the aliases of a row and, for a card, its type with other hyphens: "RTX4070-TI" is
  /// also "RTX-4070-TI" and "RTX4070TI".
  static std::vector<std::string> spellings(std::string_view type, std::string_view aliases) {
    std::vector<std::string> all;
    for (const auto alias : text::split(aliases, '|')) {
      if (!alias.empty()) all.emplace_back(alias);
    }
    const auto add = [&](std::string spelling) {
      if (spelling != type && std::find(all.begin(), all.end(), spelling) == all.end()) {
        all.push_back(std::move(spelling));
      }
    };
    const std::string_view line = type.substr(0, 3);
    if (line == "RTX" || line == "GTX" || line == "TIT" || line == "QUA") {
      std::string joined(type);
      joined.erase(std::remove(joined.begin(), joined.end(), '-'), joined.end());
      if (type.size() > 3 && text::is_digit(type[3])) {
        add(std::string(line) + "-" + std::string(type.substr(3)));
      }
      add(std::move(joined));
    }
    return all;
  }

  std::span<const std::string_view> list(std::string_view joined) {
    std::vector<std::string> items;
    for (const auto item : text::split(joined, '|')) {
      if (!item.empty()) items.emplace_back(item);
    }
    return keep(std::move(items));
  }

  std::span<const std::string_view> keep(std::vector<std::string> items) {
    std::vector<std::string_view> views;
    views.reserve(items.size());
    for (auto& item : items) views.push_back(strings_.emplace_back(std::move(item)));
    return lists_.emplace_back(std::move(views));
  }

  std::deque<std::string> strings_;  // deque: elements never move
  std::deque<std::vector<std::string_view>> lists_;
  std::vector<GpuModel> models_;
  std::unordered_map<std::string, const GpuModel*> by_name_;  // in upper case, like the next
  std::unordered_map<std::string, std::vector<const GpuModel*>> by_nvml_name_;
};

const Catalog& everything() {
  static const Catalog& built = *new Catalog;  // never destroyed: its views outlive everything
  return built;
}

constexpr double kBytesPerGiB = 1024.0 * 1024.0 * 1024.0;

/// Returns what a second of the model would cost, in millionths of a dollar: the list price, or
/// where there is none an estimate near the listed ones, which starts above the price of the A10G,
/// the dearest of the three that "any" tries first.
int cost(const GpuModel& model) {
  if (model.usd_per_second) return static_cast<int>(std::lround(*model.usd_per_second * 1e6));
  return static_cast<int>(std::lround(307 + 0.18 * model.bandwidth_gbs + 2.0 * model.memory_gb));
}

}  // namespace

std::span<const GpuModel> catalog() { return everything().models(); }

const GpuModel* find_model(std::string_view name) { return everything().find(name); }

const GpuModel* identify(std::string_view nvml_name, std::uint64_t memory_bytes) {
  for (const std::string_view prefix : {"NVIDIA ", "Tesla "}) {
    if (text::starts_with_ignoring_case(nvml_name, prefix)) nvml_name.remove_prefix(prefix.size());
  }
  const auto gap = [&](const GpuModel* model) {
    if (memory_bytes == 0) return 0.0;
    return std::abs(static_cast<double>(memory_bytes) / kBytesPerGiB - model->memory_gb);
  };
  const auto rows = everything().named(nvml_name);
  const auto best =
      std::min_element(rows.begin(), rows.end(),
                       [&](const GpuModel* a, const GpuModel* b) { return gap(a) < gap(b); });
  return best == rows.end() ? nullptr : *best;
}

const GpuModel* model_of(const Device& device) {
  const GpuModel* model = identify(device.name, device.memory_bytes);
  return model != nullptr ? model : find_model(device.type);
}

std::uint32_t memory_gb(const Device& device) {
  if (const GpuModel* model = model_of(device)) return model->memory_gb;
  const auto bytes = static_cast<double>(device.memory_bytes);
  return static_cast<std::uint32_t>(
      std::max(std::ceil(bytes / kBytesPerGiB), std::floor(bytes / 1e9)));
}

int preference(const Device& device) {
  if (const GpuModel* model = model_of(device)) return cost(*model);
  GpuModel unknown;
  unknown.memory_gb = memory_gb(device);
  unknown.bandwidth_gbs = 15.0 * unknown.memory_gb;  // about what cards of any size have
  return cost(unknown);
}

}  // namespace ionian
