#include "gpu/nvml_topology.hpp"

#include <algorithm>
#include <map>
#include <string>

#include "gpu/text.hpp"

namespace ionian::nvml {
namespace {

constexpr Return kInvalidArgument = 2;  // also: there is no link of this number

/// The NVLinks of one GPU that are up.
struct Nvlinks {
  int all = 0;
  int to_switch = 0;
  std::map<std::string, int> to_gpu;  // by PCI bus id
};

Nvlinks read_nvlinks(const Api& api, Handle gpu) {
  Nvlinks links;
  for (unsigned link = 0; link < kMostNvlinks; ++link) {
    int active = 0;
    const Return code = call(api.get_nvlink_state, gpu, link, &active);
    if (code == kFunctionNotFound || code == kInvalidArgument) break;
    if (code != kSuccess || active == 0) continue;
    ++links.all;
    int type = -1;
    PciInfo remote{};
    if (call(api.get_nvlink_remote_type, gpu, link, &type) != kSuccess) type = -1;
    if (type == kNvlinkToSwitch) {
      ++links.to_switch;
    } else if (call(api.get_nvlink_remote_pci, gpu, link, &remote) == kSuccess) {
      ++links.to_gpu[text::upper(clean({remote.bus_id.data(), remote.bus_id.size()}))];
    }
  }
  return links;
}

/// Returns the NVLinks that a pair shares; 0 if the driver says that it cannot use them.
int shared_nvlinks(const Api& api, const Found& a, const Nvlinks& from_a, const Found& b,
                   const Nvlinks& from_b) {
  if (from_a.all == 0 || from_b.all == 0) return 0;
  int status = -1;
  const Return code = call(api.get_p2p_status, a.gpu, b.gpu, kP2pNvlink, &status);
  if (code == kSuccess && status != kP2pOk) return 0;
  if (const auto direct = from_a.to_gpu.find(b.device.pci_bus_id); direct != from_a.to_gpu.end()) {
    return direct->second;
  }
  if (const int through = std::min(from_a.to_switch, from_b.to_switch); through > 0) return through;
  // A virtual machine may hide the far ends. Then the driver's word on the pair is all there is.
  return code == kSuccess ? std::min(from_a.all, from_b.all) : 0;
}

Link pcie_link(const Api& api, Handle a, Handle b) {
  int level = 0;
  if (call(api.get_common_ancestor, a, b, &level) != kSuccess) return Link::kSystem;
  switch (level) {  // nvmlGpuTopologyLevel_t
    case 0:         // two GPUs of one board
    case 10:
      return Link::kSingle;
    case 20:
      return Link::kMultiple;
    case 30:
      return Link::kHost;
    case 40:
      return Link::kNode;
    default:
      return Link::kSystem;
  }
}

bool is_slice(const Found& found) { return found.handle != found.gpu; }

}  // namespace

Topology read_topology(const Api& api, const std::vector<Found>& found) {
  Topology topology(found.size());
  std::vector<Nvlinks> nvlinks;
  nvlinks.reserve(found.size());
  for (const auto& each : found) {
    nvlinks.push_back(is_slice(each) ? Nvlinks{} : read_nvlinks(api, each.gpu));
  }
  for (std::size_t a = 0; a < found.size(); ++a) {
    for (std::size_t b = a + 1; b < found.size(); ++b) {
      if (is_slice(found[a]) || is_slice(found[b])) continue;
      const int links = shared_nvlinks(api, found[a], nvlinks[a], found[b], nvlinks[b]);
      topology.set(a, b, links > 0 ? Link::kNvlink : pcie_link(api, found[a].gpu, found[b].gpu),
                   links);
    }
  }
  return topology;
}

}  // namespace ionian::nvml
