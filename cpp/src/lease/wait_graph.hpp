// wait_graph.hpp: which waiting requests wait for each other. Pure.
//
// A call that waits for a nested call keeps its GPUs meanwhile. So a nested request has two sides:
// GPUs that it waits for, and GPUs that come free only after it was granted. Two rules follow.
//
// Who waits for me lets me pass: a request that cannot be granted before the GPUs of waiting calls
// are back loses nothing when nested requests go first, and they would never end behind it. Example
// of two GPUs: f holds 0, somebody's request for both waits and claims 1, f calls g, which needs
// one. Behind the claim g would wait for ever; before it, g runs on 1, f ends, both are granted.
//
// Deadlock is what is left when every request that can be granted some day is taken out, and the
// GPUs behind it with it, over and over (Holt's reduction of the wait-for graph, which also holds
// for requests of several GPUs and for alternatives, where "a cycle" alone does not).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "lease/allocator.hpp"

namespace ionian::wait_graph {

struct Request {
  QueuedRequest waiting;          // what it could use; not GPUs of its own ancestors
  std::vector<std::size_t> held;  // GPUs that come free only after it was granted
};

/// Brings a queue that is ordered by age into the order in which it is served: nested requests go
/// before the oldest request that cannot be granted without GPUs of calls that wait.
void let_nested_pass(const Machine& machine, std::vector<Request>& queue);

/// Returns the requests that wait for each other in a circle in which `number` is the youngest:
/// it first, each waiting for a GPU that the next one keeps, the last for one of the first. Empty
/// if `number` is in no such circle, or a younger one is.
std::vector<std::uint64_t> deadlock(const Machine& machine, const std::vector<Request>& queue,
                                    std::uint64_t number);

}  // namespace ionian::wait_graph
