// reduce.hpp: reductions on the host, in the order of ranks. Pure.
#pragma once

#include <cstddef>
#include <span>

#include "ionian/communicator.hpp"

namespace ionian {

/// out[i] = op over all of `inputs`, first to last, of input[i], for `count` elements. `out` may be
/// one of the inputs. Integers wrap around; 8- and 16-bit floating point adds up in float32.
void reduce_on_host(DType dtype, ReduceOp op, std::span<const std::byte* const> inputs,
                    std::byte* out, std::size_t count);

}  // namespace ionian
