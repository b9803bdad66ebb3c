// call_fields.hpp: what a rank says of its call to the others, and how it is read back. Pure.
#pragma once

#include "comm/backend.hpp"
#include "comm/shared_memory.hpp"

namespace ionian::shared_memory {

/// Returns what the others are told of `call`.
CallFields fields_of(const CommCall& call, std::uint64_t sequence);
/// Returns a call to be named in errors; without data. Values out of range become others: they come
/// from another process.
CommCall described(const CallFields& fields);
/// Returns whether two ranks call the same.
bool same(const CallFields& a, const CallFields& b);

}  // namespace ionian::shared_memory
