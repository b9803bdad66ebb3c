#include "gpu/simulated.hpp"

#include <array>
#include <cstdio>
#include <map>
#include <string>
#include <utility>

#include "gpu/text.hpp"
#include "ionian/catalog.hpp"
#include "ionian/error.hpp"
#include "ionian/gpu_request.hpp"

namespace ionian {
namespace {

constexpr std::size_t kMostDevices = 1024;  // the topology grows with the square
constexpr std::size_t kShown = 60;

[[noreturn]] void reject(std::string_view spec, std::size_t position, const std::string& fault) {
  throw InvalidError("[simulated GPUs " + text::quoted(spec, kShown) + "] at byte " +
                     std::to_string(position) + ": " + fault +
                     "\nWrite models and counts joined by commas, as in \"A10G:2,H100:8\".");
}

GpuRequestItem read_part(std::string_view spec, std::string_view part) {
  const auto offset = static_cast<std::size_t>(part.data() - spec.data());
  try {
    auto item = GpuRequest::parse(part).alternatives().front();
    if (item.kind != GpuRequestItem::Kind::kModel ||
        item.binding != GpuRequestItem::Binding::kDefault) {
      reject(spec, offset, "expected the plain name of a model, got " + text::quoted(part, kShown));
    }
    return item;
  } catch (const GpuRequestError& error) {
    std::string fault = "expected a model and a count, got " + text::quoted(part, kShown);
    if (find_model(error.suggestion) != nullptr)
      fault += "; did you mean \"" + error.suggestion + "\"?";
    reject(spec, offset + error.position, fault);
  }
}

/// FNV-1a with the finish of SplitMix64: the same in every process and on every machine.
std::uint64_t hash(std::string_view text, std::uint64_t seed) {
  std::uint64_t value = 0xcbf29ce484222325U ^ seed;
  for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9U;
  value = (value ^ value >> 27) * 0x94d049bb133111ebU;
  return value ^ value >> 31;
}

/// Returns an RFC 9562 version 8 UUID, which is the kind for one's own rules.
std::string simulated_uuid(std::string_view type, int ordinal) {
  const std::string name = "ionian simulated " + std::string(type) + " " + std::to_string(ordinal);
  const std::uint64_t high = hash(name, 0);
  const std::uint64_t low = hash(name, 0x9e3779b97f4a7c15U);
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "GPU-%08x-%04x-8%03x-%04x-%012llx",
                static_cast<unsigned>(high >> 32), static_cast<unsigned>(high >> 16 & 0xffff),
                static_cast<unsigned>(high & 0xfff),
                static_cast<unsigned>((low >> 48 & 0x3fff) | 0x8000),
                static_cast<unsigned long long>(low & 0xffffffffffffULL));
  return text.data();
}

Device simulated_device(const GpuModel& model, int index, int ordinal) {
  Device device;
  device.index = index;
  device.uuid = simulated_uuid(model.type, ordinal);
  device.name = "NVIDIA " + std::string(model.nvml_names.front());
  device.type = model.type;
  device.memory_bytes = std::uint64_t{model.memory_gb} << 30;
  device.compute_major = model.compute_major;
  device.compute_minor = model.compute_minor;
  device.simulated = true;
  return device;
}

/// Returns the NVLink links of each pair on the boards that carry several of this model, 0 for
/// PCIe.
int nvlinks_per_pair(std::string_view type) {
  struct Board {
    std::string_view type;
    int links;
  };
  static constexpr std::array<Board, 13> boards{{{"V100-16GB", 6},
                                                 {"V100-32GB", 6},
                                                 {"A100-40GB", 12},
                                                 {"A100-80GB", 12},
                                                 {"A800", 8},
                                                 {"H100", 18},
                                                 {"H800", 8},
                                                 {"H20", 18},
                                                 {"H200", 18},
                                                 {"B200", 18},
                                                 {"GB200", 18},
                                                 {"B300", 18},
                                                 {"GB300", 18}}};
  for (const Board& board : boards) {
    if (board.type == type) return board.links;
  }
  return 0;
}

Topology simulated_topology(const std::vector<Device>& devices) {
  Topology topology(devices.size());
  for (std::size_t a = 0; a < devices.size(); ++a) {
    const int links = nvlinks_per_pair(devices[a].type);
    for (std::size_t b = a + 1; b < devices.size(); ++b) {
      if (links > 0 && devices[a].type == devices[b].type) {
        topology.set(a, b, Link::kNvlink, links);
      } else if (devices[a].numa_node == devices[b].numa_node) {
        topology.set(a, b, a / 2 == b / 2 ? Link::kSingle : Link::kNode);
      }
    }
  }
  return topology;
}

}  // namespace

Inventory simulate(std::string_view spec) {
  Inventory inventory;
  inventory.source = Inventory::Source::kSimulated;
  std::map<std::string_view, int> ordinals;
  for (const auto part : text::split(spec, ',')) {
    const GpuRequestItem item = read_part(spec, part);
    const GpuModel& model = *find_model(find_model(item.type)->grants.front());
    for (int i = 0; i < item.count; ++i) {
      if (inventory.devices.size() == kMostDevices) {
        reject(spec, static_cast<std::size_t>(part.data() - spec.data()),
               "more than " + std::to_string(kMostDevices) + " GPUs");
      }
      const int index = static_cast<int>(inventory.devices.size());
      inventory.devices.push_back(simulated_device(model, index, ordinals[model.type]++));
    }
  }
  const std::size_t size = inventory.devices.size();
  for (std::size_t i = 0; i < size; ++i) {
    // Whole pairs stay on one node, because a pair shares a PCIe switch.
    inventory.devices[i].numa_node = size > 4 && i / 2 >= (size + 3) / 4 ? 1 : 0;
  }
  inventory.topology = simulated_topology(inventory.devices);
  return inventory;
}

}  // namespace ionian
