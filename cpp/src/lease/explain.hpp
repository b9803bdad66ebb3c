// explain.hpp: why a request is not granted now, as data. Pure: values in, an explanation out.
#pragma once

#include <vector>

#include "ionian/lease.hpp"
#include "lease/allocator.hpp"

namespace ionian {

/// Returns what the allocator would do for `asked`, which comes after `ahead`, on a machine whose
/// GPUs are as `gpus` says (one for each, in their order), and what stands in its way: `grant`,
/// `position` and `alternatives` are filled in, named by `items` where `asked` has them, and
/// `gpus`.
LeaseExplanation explain(const Machine& machine, std::vector<LeaseStatus> gpus,
                         const std::vector<QueuedRequest>& ahead, const QueuedRequest& asked,
                         const std::vector<std::string>& items);

}  // namespace ionian
