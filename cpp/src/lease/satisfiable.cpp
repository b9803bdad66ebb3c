#include "lease/satisfiable.hpp"

#include <algorithm>
#include <map>

#include "ionian/error.hpp"
#include "lease/call_chain.hpp"
#include "lease/machine.hpp"
#include "lease/policy.hpp"

namespace ionian {
namespace {

std::map<std::string, int> healthy_by_type(const Inventory& inventory) {
  std::map<std::string, int> count;
  for (const auto& device : inventory.devices) {
    if (device.trouble.empty()) ++count[device.type];
  }
  return count;
}

/// Returns a request near `item` that this machine can grant, "" if it has no GPU.
std::string nearest(const GpuRequestItem& item, const Inventory& inventory) {
  const auto count = healthy_by_type(inventory);
  if (count.empty()) return "";
  // The same kind of GPU but fewer, else as many as there are of the most frequent model.
  GpuRequestItem fewer = item;
  for (fewer.count = item.count - 1; fewer.count > 0; --fewer.count) {
    const Alternative bound = bind(fewer, inventory, GpuMatch::kUpgrade);
    if (policy::possible(Machine(inventory), bound)) return fewer.to_string();
  }
  const auto most = std::max_element(
      count.begin(), count.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  GpuRequestItem other;
  other.kind = GpuRequestItem::Kind::kModel;
  other.type = most->first;
  other.count = std::min(item.count, most->second);
  return other.to_string();
}

bool fits(const GpuRequest& request, const Inventory& inventory, GpuMatch match,
          const std::vector<std::string>& excluded) {
  const Machine machine(inventory);
  return std::any_of(request.alternatives().begin(), request.alternatives().end(),
                     [&](const auto& item) {
                       return policy::possible(machine, bind(item, inventory, match, excluded));
                     });
}

}  // namespace

std::string what_exists(const Inventory& inventory) {
  std::string text;
  for (const auto& [type, count] : healthy_by_type(inventory)) {
    text += (text.empty() ? "" : ", ") + std::to_string(count) + " x " + type;
  }
  if (text.empty()) text = "no usable GPU";
  for (const auto& device : inventory.devices) {
    if (!device.trouble.empty()) {
      text += "; " + device.type + " " + device.uuid + " is left out: " + device.trouble;
    }
  }
  if (!inventory.reason.empty()) text += " (" + inventory.reason + ")";
  return text;
}

bool possible_now(const GpuRequest& request, const Inventory& inventory, GpuMatch match) {
  const Machine machine(inventory);
  return std::any_of(request.alternatives().begin(), request.alternatives().end(),
                     [&](const auto& item) {
                       Alternative bound = bind(item, inventory, match);
                       std::erase_if(bound.gpus, [&](const std::size_t gpu) {
                         return !inventory.devices[gpu].trouble.empty();
                       });
                       return policy::possible(machine, bound);
                     });
}

void check_satisfiable(const GpuRequest& request, const Inventory& inventory, GpuMatch match,
                       const std::vector<std::string>& held_by_ancestors, const LeaseOwner& asker) {
  const std::string origin = "[gpu=" + request.to_string() + "] ";
  if (!fits(request, inventory, match, {})) {
    const std::string near = nearest(request.alternatives().front(), inventory);
    if (near.empty()) {
      const auto& first = request.alternatives().front();
      const std::string simulated =
          (first.kind == GpuRequestItem::Kind::kModel ? first.type : std::string("A10G")) + ":" +
          std::to_string(first.count);
      throw UnsatisfiableError(
          origin + "this machine has no GPU to run it on\nfound: " + what_exists(inventory) +
          "\nnext: try it on simulated GPUs with --simulate \"" + simulated +
          "\" (or IONIAN_GPUS); `ionian doctor` says what is wrong with the real ones");
    }
    std::string next = "ask for \"" + near + "\"";
    if (match != GpuMatch::kPretend && fits(request, inventory, GpuMatch::kPretend, {})) {
      next += ", or run with --gpu-match pretend to take any GPU for it";
    }
    throw UnsatisfiableError(origin + "this machine can never grant it\nexists: " +
                             what_exists(inventory) + "\nnext: " + next);
  }
  if (!held_by_ancestors.empty() && !fits(request, inventory, match, held_by_ancestors)) {
    throw LeaseDeadlockError(
        origin +
        "it would wait for ever for a GPU that its own caller holds\nchain: " + call_chain(asker) +
        "\nheld by the calls it is nested in: " + gpu_names(held_by_ancestors, inventory) +
        "\nnext: call the function with .local(...) to run it on the caller's GPU, or make "
        "the outer function run without gpu=");
  }
}

}  // namespace ionian
