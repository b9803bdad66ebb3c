#include "gpu/visible_devices.hpp"

#include <algorithm>
#include <optional>

#include "gpu/text.hpp"

namespace ionian {
namespace {

bool is_uuid_mask(std::string_view mask) {
  return mask.substr(0, 4) == "GPU-" || mask.substr(0, 4) == "MIG-";
}

std::string_view without_spaces(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

/// Returns the position that `entry` begins with, as strtoul reads it; nullopt if it names no
/// device.
std::optional<std::size_t> by_number(std::string_view entry, std::size_t size) {
  entry = without_spaces(entry);
  if (!entry.empty() && entry.front() == '+') entry.remove_prefix(1);
  if (entry.empty() || !text::is_digit(entry.front())) return std::nullopt;
  std::size_t number = 0;
  for (const char c : entry) {
    if (!text::is_digit(c)) break;
    number = number * 10 + static_cast<std::size_t>(c - '0');
    if (number >= size) return std::nullopt;
  }
  return number;
}

/// Returns the only device whose UUID begins with `entry`; nullopt if there is none or another.
std::optional<std::size_t> by_uuid(std::string_view entry, const std::vector<Device>& devices) {
  std::optional<std::size_t> found;
  if (entry.size() <= 4) return found;
  for (std::size_t i = 0; i < devices.size(); ++i) {
    if (!text::starts_with_ignoring_case(devices[i].uuid, entry)) continue;
    if (found) return std::nullopt;
    found = i;
  }
  return found;
}

}  // namespace

std::vector<std::size_t> visible_positions(std::string_view mask,
                                           const std::vector<Device>& devices) {
  std::vector<std::size_t> positions;
  const bool uuids = is_uuid_mask(mask);
  const std::string_view kind = mask.substr(0, 4);
  for (const auto entry : text::split(mask, ',')) {
    if (uuids && entry.substr(0, 4) != kind) break;
    const auto position = uuids ? by_uuid(entry, devices) : by_number(entry, devices.size());
    if (!position) break;
    if (std::find(positions.begin(), positions.end(), *position) != positions.end()) return {};
    positions.push_back(*position);
  }
  return positions;
}

Inventory narrow(const Inventory& inventory, const std::vector<std::size_t>& positions) {
  Inventory narrowed = inventory;
  narrowed.devices.clear();
  narrowed.topology = Topology(positions.size());
  for (std::size_t i = 0; i < positions.size(); ++i) {
    narrowed.devices.push_back(inventory.devices.at(positions[i]));
    narrowed.devices.back().index = static_cast<int>(i);
    for (std::size_t j = 0; j < i; ++j) {
      narrowed.topology.set(i, j, inventory.topology.link(positions[i], positions[j]),
                            inventory.topology.nvlinks(positions[i], positions[j]));
    }
  }
  return narrowed;
}

bool is_ambiguous(std::string_view mask, const std::vector<Device>& devices) {
  return !is_uuid_mask(mask) && !visible_positions(mask, devices).empty() &&
         std::any_of(devices.begin(), devices.end(),
                     [&](const Device& device) { return device.name != devices.front().name; });
}

}  // namespace ionian
