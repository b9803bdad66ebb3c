// satisfiable.hpp: whether a request can ever be granted on this machine, and what to say if not.
#pragma once

#include <string>
#include <vector>

#include "ionian/gpu_request.hpp"
#include "ionian/inventory.hpp"
#include "ionian/lease.hpp"

namespace ionian {

/// Throws UnsatisfiableError if no alternative fits this machine (with what exists and the nearest
/// that would fit), LeaseDeadlockError if one fits only with a GPU of `held_by_ancestors`; it names
/// the chain of calls that `asker` stands in.
void check_satisfiable(const GpuRequest& request, const Inventory& inventory, GpuMatch match,
                       const std::vector<std::string>& held_by_ancestors,
                       const LeaseOwner& asker = {});

/// Returns "2 x A10G, 1 x H100", or "no GPU" with the reason.
std::string what_exists(const Inventory& inventory);

/// Returns whether some alternative fits the GPUs that are not in trouble.
bool possible_now(const GpuRequest& request, const Inventory& inventory, GpuMatch match);

}  // namespace ionian
