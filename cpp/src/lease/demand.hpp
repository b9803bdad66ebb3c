// demand.hpp: what a request asks for, made ready for the allocator once and shared by all requests
// that ask the same. Pure values.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "lease/layout.hpp"
#include "lease/machine.hpp"

namespace ionian::allocator {

/// A kind of GPUs that may serve a request. `begin` and `end` are of Demand::gpus: the GPUs of this
/// kind that may; both 0 if all may.
struct Share {
  std::uint32_t kind = 0;
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
  [[nodiscard]] bool whole() const noexcept { return end == 0; }
};

struct Try : Share {
  std::uint32_t alternative = 0;
  std::uint32_t count = 0;
};

/// Immutable. Only kinds of which some host has enough GPUs are in it: the others can never serve,
/// so they are not kept from younger requests either.
struct Demand {
  std::vector<Try> tries;     // in the order in which they are tried; empty: never
  std::vector<Share> claims;  // what is kept from younger requests: each kind once
  std::vector<std::uint32_t> gpus;
};

/// Returns the demand of `alternatives`, whose GPUs are indices of `layout`.
std::shared_ptr<const Demand> demand(const Layout& layout,
                                     const std::vector<Alternative>& alternatives);

}  // namespace ionian::allocator
