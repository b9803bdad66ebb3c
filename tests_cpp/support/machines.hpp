// machines.hpp: named machines for tests, as inventories. Nothing is read from the host.
//
// Devices are marked simulated, so code that would ask the driver about them does not. UUIDs differ
// between the GPUs of one machine and are the same in every process.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "ionian/inventory.hpp"

namespace ionian::machines {

/// What the machines need to know of a model.
struct Model {
  const char* type;
  const char* name;
  std::uint64_t memory_gb;
  int compute_major;
  int compute_minor;
};
inline constexpr Model kT4{"T4", "Tesla T4", 16, 7, 5};
inline constexpr Model kL4{"L4", "NVIDIA L4", 24, 8, 9};
inline constexpr Model kA10G{"A10G", "NVIDIA A10G", 24, 8, 6};
inline constexpr Model kL40S{"L40S", "NVIDIA L40S", 48, 8, 9};
inline constexpr Model kA100x40{"A100-40GB", "NVIDIA A100-SXM4-40GB", 40, 8, 0};
inline constexpr Model kA100x80{"A100-80GB", "NVIDIA A100-SXM4-80GB", 80, 8, 0};
inline constexpr Model kH100{"H100", "NVIDIA H100 80GB HBM3", 80, 9, 0};
inline constexpr Model kH200{"H200", "NVIDIA H200", 141, 9, 0};
inline constexpr Model kB200{"B200", "NVIDIA B200", 180, 10, 0};
inline constexpr Model kB300{"B300", "NVIDIA B300 SXM6 AC", 288, 10, 3};
inline constexpr Model kV100{"V100-16GB", "Tesla V100-SXM2-16GB", 16, 7, 0};
inline constexpr Model kRtx4090{"RTX4090", "NVIDIA GeForce RTX 4090", 24, 8, 9};

/// Returns a machine with one GPU of each of `models`, in that order, all linked by `link`.
inline Inventory machine(const std::vector<Model>& models, Link link = Link::kSystem) {
  Inventory inventory;
  inventory.source = Inventory::Source::kSimulated;
  inventory.topology = Topology(models.size(), link);
  for (std::size_t i = 0; i < models.size(); ++i) {
    const Model& model = models[i];
    std::array<char, 48> uuid{};
    std::snprintf(uuid.data(), uuid.size(), "GPU-00000000-0000-4000-8000-%012zx", i);
    Device device;
    device.index = static_cast<int>(i);
    device.uuid = uuid.data();
    device.name = model.name;
    device.type = model.type;
    device.memory_bytes = model.memory_gb << 30;
    device.compute_major = model.compute_major;
    device.compute_minor = model.compute_minor;
    device.numa_node = 0;
    device.simulated = true;
    inventory.devices.push_back(std::move(device));
  }
  return inventory;
}

/// Puts the second half of the GPUs on NUMA node 1.
inline Inventory on_two_nodes(Inventory inventory) {
  const std::size_t size = inventory.devices.size();
  for (std::size_t i = size / 2; i < size; ++i) inventory.devices[i].numa_node = 1;
  return inventory;
}

/// Returns `count` GPUs of one model behind NVSwitch: every pair has `nvlinks` links.
inline Inventory nvswitch(const Model& model, std::size_t count, int nvlinks) {
  Inventory inventory = on_two_nodes(machine(std::vector<Model>(count, model)));
  for (std::size_t a = 0; a < count; ++a) {
    for (std::size_t b = a + 1; b < count; ++b) {
      inventory.topology.set(a, b, Link::kNvlink, nvlinks);
    }
  }
  return inventory;
}

inline Inventory none() { return {}; }
inline Inventory one_a10g() { return machine({kA10G}); }
inline Inventory workstation_2x4090() { return machine({kRtx4090, kRtx4090}, Link::kHost); }
inline Inventory dgx_h100() { return nvswitch(kH100, 8, 18); }
inline Inventory dgx_a100() { return nvswitch(kA100x80, 8, 12); }
inline Inventory hgx_h200() { return nvswitch(kH200, 8, 18); }
inline Inventory dgx_b200() { return nvswitch(kB200, 8, 18); }

/// Four L40S: 0 and 1 under one PCIe switch of NUMA node 0, 2 and 3 under one of node 1.
inline Inventory pcie_4x() {
  Inventory inventory = on_two_nodes(machine(std::vector<Model>(4, kL40S)));
  inventory.topology.set(0, 1, Link::kSingle);
  inventory.topology.set(2, 3, Link::kSingle);
  return inventory;
}

/// Eight A10G: four to a NUMA node, two to a PCIe switch.
inline Inventory pcie_8x() {
  Inventory inventory = on_two_nodes(machine(std::vector<Model>(8, kA10G)));
  for (std::size_t a = 0; a < 8; ++a) {
    for (std::size_t b = a + 1; b < 8; ++b) {
      if (a / 4 != b / 4) continue;
      inventory.topology.set(a, b, a / 2 == b / 2 ? Link::kSingle : Link::kNode);
    }
  }
  return inventory;
}

/// Eight V100 as in a DGX-1: a hybrid cube mesh, in which some pairs have two NVLinks, some one and
/// some none, so that a bad choice of two or four costs half the bandwidth or more.
inline Inventory dgx_v100() {
  Inventory inventory = on_two_nodes(machine(std::vector<Model>(8, kV100)));
  for (std::size_t a = 0; a < 8; ++a) {
    for (std::size_t b = a + 1; b < 8; ++b) {
      if (a / 4 == b / 4) inventory.topology.set(a, b, Link::kNode);
    }
  }
  struct Pair {
    std::size_t a;
    std::size_t b;
    int links;
  };
  for (const Pair& pair : {Pair{0, 1, 1}, Pair{0, 2, 1}, Pair{0, 3, 2}, Pair{0, 4, 2},  //
                           Pair{1, 2, 2}, Pair{1, 3, 1}, Pair{1, 5, 2}, Pair{2, 3, 2},  //
                           Pair{2, 6, 1}, Pair{3, 7, 1}, Pair{4, 5, 1}, Pair{4, 6, 1},  //
                           Pair{4, 7, 2}, Pair{5, 6, 2}, Pair{5, 7, 1}, Pair{6, 7, 2}}) {
    inventory.topology.set(pair.a, pair.b, Link::kNvlink, pair.links);
  }
  return inventory;
}

/// One T4, two A10G, one A100-80GB and two H100 that NVLink joins: no gang of four.
inline Inventory mixed() {
  Inventory inventory = on_two_nodes(machine({kT4, kA10G, kA10G, kA100x80, kH100, kH100}));
  inventory.topology.set(1, 2, Link::kNode);
  inventory.topology.set(4, 5, Link::kNvlink, 18);
  return inventory;
}

/// Two models of two GPUs each: "any:3" never fits, "any:2" fits twice.
inline Inventory two_and_two() { return machine({kA10G, kA10G, kL4, kL4}); }

/// Two H100 and two H200, so that "H100" has an upgrade beside it.
inline Inventory h100_and_h200() {
  Inventory inventory = machine({kH100, kH100, kH200, kH200});
  inventory.topology.set(0, 1, Link::kNvlink, 18);
  inventory.topology.set(2, 3, Link::kNvlink, 18);
  return inventory;
}

}  // namespace ionian::machines
