// call_chain.hpp: how people read who asked for a GPU inside of which calls.
#pragma once

#include <string>
#include <vector>

#include "ionian/inventory.hpp"
#include "ionian/lease.hpp"

namespace ionian {

/// Returns "app.function", or what there is of it.
std::string call_name(const LeaseOwner& owner);
/// Returns "app.f (A10G GPU-…) → app.g": the calls that `owner` is nested in, and itself.
std::string call_chain(const LeaseOwner& owner);
/// Returns "A10G GPU-…, H100 GPU-…".
std::string gpu_names(const std::vector<std::string>& uuids, const Inventory& inventory);

}  // namespace ionian
