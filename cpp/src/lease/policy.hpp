// policy.hpp: which GPUs of those that are free. Pure: values in, a choice out.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "lease/machine.hpp"

namespace ionian::policy {

/// Returns whether `alternative` fits a machine on which all of its GPUs are free.
bool possible(const Machine& machine, const Alternative& alternative);

/// Returns the GPUs to grant, ascending; nullopt if too few of one model are free.
///
/// The model that was asked for goes first, then the one that is cheapest to give away. Within a
/// model the set with the best worst link wins, then with the most bandwidth in all, then the one
/// that leaves the best linked rest, then the lowest indices. Up to kExactLimit free GPUs every set
/// is looked at; beyond, sets grow one best GPU at a time.
std::optional<std::vector<std::size_t>> choose(const Machine& machine,
                                               const Alternative& alternative,
                                               const std::vector<bool>& free);
inline constexpr std::size_t kExactLimit = 16;

}  // namespace ionian::policy
