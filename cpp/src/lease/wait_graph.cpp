#include "lease/wait_graph.hpp"

#include <algorithm>
#include <deque>
#include <utility>

#include "lease/policy.hpp"

namespace ionian::wait_graph {
namespace {

void mark(std::vector<bool>& gpus, const Request& request) {
  for (const std::size_t gpu : request.held) gpus[gpu] = true;
}

/// Returns whether some alternative fits the GPUs that are not `blocked`.
bool fits(const Machine& machine, const Request& request, const std::vector<bool>& blocked) {
  return std::any_of(request.waiting.alternatives.begin(), request.waiting.alternatives.end(),
                     [&](Alternative alternative) {
                       std::erase_if(alternative.gpus,
                                     [&](const std::size_t gpu) { return blocked[gpu]; });
                       return policy::possible(machine, alternative);
                     });
}

bool waits_for(const Request& request, const Request& other) {
  const auto uses = [&](const std::size_t gpu) {
    return std::any_of(request.waiting.alternatives.begin(), request.waiting.alternatives.end(),
                       [&](const Alternative& alternative) {
                         return std::binary_search(alternative.gpus.begin(), alternative.gpus.end(),
                                                   gpu);
                       });
  };
  return std::any_of(other.held.begin(), other.held.end(), uses);
}

/// Returns the requests that are never granted unless one of them gives up.
std::vector<Request> stuck(const Machine& machine, std::vector<Request> queue) {
  for (;;) {
    std::vector<bool> blocked(machine.size());
    for (const Request& request : queue) mark(blocked, request);
    const auto freed = std::erase_if(
        queue, [&](const Request& request) { return fits(machine, request, blocked); });
    if (freed == 0) return queue;
  }
}

/// Returns for each request the one from which a walk from `start` first came to it; its own index
/// where none did.
std::vector<std::size_t> walk(const std::vector<Request>& requests, std::size_t start) {
  std::vector<std::size_t> from(requests.size());
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = i;
  std::deque<std::size_t> reached{start};
  while (!reached.empty()) {
    const std::size_t at = reached.front();
    reached.pop_front();
    for (std::size_t next = 0; next < requests.size(); ++next) {
      if (next == start || from[next] != next || !waits_for(requests[at], requests[next])) continue;
      from[next] = at;
      reached.push_back(next);
    }
  }
  return from;
}

}  // namespace

void let_nested_pass(const Machine& machine, std::vector<Request>& queue) {
  std::vector<bool> kept(machine.size());
  for (const Request& request : queue) mark(kept, request);
  if (std::find(kept.begin(), kept.end(), true) == kept.end()) return;
  std::vector<std::pair<Request, bool>> served;  // and whether it lets others pass
  for (Request& request : queue) {
    const bool nested = !request.held.empty();
    const auto place = std::find_if(served.begin(), served.end(),
                                    [&](const auto& other) { return nested && other.second; });
    const bool lets_pass = !fits(machine, request, kept);
    served.emplace(place, std::move(request), lets_pass);
  }
  std::transform(served.begin(), served.end(), queue.begin(),
                 [](auto& each) { return std::move(each.first); });
}

std::vector<std::uint64_t> deadlock(const Machine& machine, const std::vector<Request>& queue,
                                    std::uint64_t number) {
  const std::vector<Request> left = stuck(machine, queue);
  const auto found = std::find_if(left.begin(), left.end(), [&](const Request& request) {
    return request.waiting.request == number;
  });
  if (found == left.end()) return {};
  const auto start = static_cast<std::size_t>(found - left.begin());
  const auto from = walk(left, start);
  std::vector<std::uint64_t> circle;
  for (std::size_t i = 0; i < left.size(); ++i) {
    if (from[i] == i || !waits_for(left[i], left[start])) continue;
    // `i` is reached from the start. Whether it leads back, by whatever way, is what counts.
    std::vector<std::uint64_t> way;
    for (std::size_t at = i; at != start; at = from[at]) way.push_back(left[at].waiting.request);
    if (circle.empty() || way.size() < circle.size()) circle = std::move(way);
  }
  if (circle.empty()) return {};
  for (std::size_t i = 0; i < left.size(); ++i) {
    // A younger one in any circle with us gives up instead.
    if (from[i] == i || left[i].waiting.request <= number) continue;
    const auto back = walk(left, i);
    if (back[start] != start) return {};
  }
  circle.push_back(number);
  std::reverse(circle.begin(), circle.end());
  return circle;
}

}  // namespace ionian::wait_graph
