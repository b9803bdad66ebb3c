#include "gpu/split.hpp"

#include <charconv>
#include <string>

#include "gpu/text.hpp"
#include "ionian/error.hpp"

namespace ionian {

int parse_split(std::string_view text) {
  int slices = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), slices);
  if (error != std::errc{} || end != text.data() + text.size() || slices < 1 ||
      slices > kMostSlices) {
    throw InvalidError("[split] got " + text::quoted(text, 40) +
                       "; expected a whole number from 1 to " + std::to_string(kMostSlices) +
                       "\nnext: `ionian run --split 2 script.py`, or IONIAN_SPLIT=2");
  }
  return slices;
}

Inventory split(const Inventory& inventory, int slices) {
  if (slices == 1) return inventory;
  Inventory result = inventory;
  result.devices.clear();
  for (const auto& device : inventory.devices) {
    for (int part = 0; part < slices; ++part) {
      Device slice = device;
      slice.index = static_cast<int>(result.devices.size());
      slice.uuid += "/" + std::to_string(part);
      slice.memory_bytes /= static_cast<std::uint64_t>(slices);
      result.devices.push_back(std::move(slice));
    }
  }
  const auto each = static_cast<std::size_t>(slices);
  result.topology = Topology(result.devices.size());
  for (std::size_t a = 0; a < result.devices.size(); ++a) {
    for (std::size_t b = a + 1; b < result.devices.size(); ++b) {
      result.topology.set(a, b, inventory.topology.link(a / each, b / each),
                          inventory.topology.nvlinks(a / each, b / each));
    }
  }
  return result;
}

}  // namespace ionian
