#include "lease/call_chain.hpp"

namespace ionian {

std::string call_name(const LeaseOwner& owner) {
  const std::string name =
      owner.app + (owner.app.empty() || owner.function.empty() ? "" : ".") + owner.function;
  return name.empty() ? "this request" : name;
}

std::string call_chain(const LeaseOwner& owner) {
  std::string text;
  for (const auto& caller : owner.callers) text += caller + " → ";
  return text + call_name(owner);
}

std::string gpu_names(const std::vector<std::string>& uuids, const Inventory& inventory) {
  std::string text;
  for (const auto& uuid : uuids) {
    const Device* device = inventory.find(uuid);
    text += (text.empty() ? "" : ", ") + (device == nullptr ? "" : device->type + " ") + uuid;
  }
  return text;
}

}  // namespace ionian
