#include "lease/allocator_state.hpp"

#include <utility>

namespace ionian::allocator {

State::State(std::shared_ptr<const Layout> layout)
    : layout_(std::move(layout)),
      states_(layout_->size(), GpuState::kFree),
      gpus_(layout_->size()),
      stocks_(layout_->groups().size()),
      pools_(layout_->kinds().size()) {
  for (std::size_t kind = 0; kind < pools_.size(); ++kind) {
    pools_[kind].by_free.assign(layout_->kinds()[kind].size() + 1, kNone);
  }
  // From the last, so that the first stands first.
  for (std::size_t group = stocks_.size(); group-- > 0;) {
    const auto kind = layout_->groups()[group].kind;
    restock(static_cast<std::uint32_t>(group),
            static_cast<std::int32_t>(layout_->kinds()[kind].size()));
  }
}

std::uint64_t State::holder(std::size_t gpu) const {
  return states_[gpu] == GpuState::kLeased ? entries_[gpus_[gpu].entry].request : 0;
}

std::vector<std::uint64_t> State::queue() const {
  std::vector<std::uint64_t> requests;
  each_waiting([&](std::uint64_t request, std::uint64_t) { requests.push_back(request); });
  return requests;
}

std::vector<std::size_t> State::gpus_of(std::uint64_t request) const {
  std::vector<std::size_t> gpus;
  const std::uint32_t entry = entries_by_request_.find(request);
  if (entry == kNone) return gpus;
  for (std::uint32_t gpu = entries_[entry].gpus; gpu != kNone; gpu = gpus_[gpu].next) {
    gpus.push_back(gpu);
  }
  return gpus;
}

std::size_t State::bytes() const {
  std::size_t total = states_.capacity() * sizeof(GpuState) + gpus_.capacity() * sizeof(Gpu) +
                      stocks_.capacity() * sizeof(Stock) + entries_.capacity() * sizeof(Entry) +
                      places_.capacity() * sizeof(Place) + entries_by_request_.bytes() +
                      entries_by_client_.bytes();
  for (const Pool& pool : pools_) {
    total += sizeof(Pool) + pool.by_free.capacity() * sizeof(std::uint32_t);
  }
  return total;
}

std::uint32_t State::add_entry(std::uint64_t request, std::uint64_t client) {
  std::uint32_t index = spare_entry_;
  if (index == kNone) {
    index = static_cast<std::uint32_t>(entries_.size());
    entries_.emplace_back();
  } else {
    spare_entry_ = std::exchange(entries_[index].next, kNone);
  }
  Entry& entry = entries_[index];
  entry.request = request;
  entry.client = client;
  entry.arrival = ++arrivals_;
  entries_by_request_.set(request, index);
  // The ring is entered before its first, which is its end.
  const std::uint32_t first = entries_by_client_.find(client);
  if (first == kNone) {
    entries_by_client_.set(client, index);
    entry.client_prev = entry.client_next = index;
  } else {
    entry.client_next = first;
    entry.client_prev = std::exchange(entries_[first].client_prev, index);
    entries_[entry.client_prev].client_next = index;
  }
  return index;
}

void State::remove_entry(std::uint32_t index) {
  Entry& entry = entries_[index];
  entries_by_request_.erase(entry.request);
  if (entry.client_next == index) {
    entries_by_client_.erase(entry.client);
  } else {
    entries_[entry.client_prev].client_next = entry.client_next;
    entries_[entry.client_next].client_prev = entry.client_prev;
    if (entries_by_client_.find(entry.client) == index) {
      entries_by_client_.set(entry.client, entry.client_next);
    }
  }
  entry.next = std::exchange(spare_entry_, index);
}

void State::enqueue(std::uint32_t index) {
  Entry& entry = entries_[index];
  entry.next = kNone;
  entry.prev = std::exchange(queue_.tail, index);
  (entry.prev == kNone ? queue_.head : entries_[entry.prev].next) = index;
  for (std::uint32_t claim = 0; claim < entry.demand->claims.size(); ++claim) {
    std::uint32_t at = spare_place_;
    if (at == kNone) {
      at = static_cast<std::uint32_t>(places_.size());
      places_.emplace_back();
    } else {
      spare_place_ = places_[at].sibling;
    }
    List& line = pools_[entry.demand->claims[claim].kind].line;
    places_[at] = {index, claim, std::exchange(line.tail, at), kNone, entry.places};
    (places_[at].prev == kNone ? line.head : places_[places_[at].prev].next) = at;
    entry.places = at;
  }
}

void State::dequeue(std::uint32_t index) {
  Entry& entry = entries_[index];
  (entry.prev == kNone ? queue_.head : entries_[entry.prev].next) = entry.next;
  (entry.next == kNone ? queue_.tail : entries_[entry.next].prev) = entry.prev;
  entry.prev = entry.next = kNone;
  while (entry.places != kNone) {
    const std::uint32_t at = entry.places;
    Place& place = places_[at];
    const std::uint32_t kind = entry.demand->claims[place.claim].kind;
    List& line = pools_[kind].line;
    (place.prev == kNone ? line.head : places_[place.prev].next) = place.next;
    (place.next == kNone ? line.tail : places_[place.next].prev) = place.prev;
    entry.places = place.sibling;
    place.sibling = std::exchange(spare_place_, at);
    mark_changed(kind);
  }
}

void State::set_gpu(std::uint32_t index, GpuState state) {
  const GpuState old = std::exchange(states_[index], state);
  Gpu& gpu = gpus_[index];
  if (old == GpuState::kDraining) {
    (gpu.prev == kNone ? draining_.head : gpus_[gpu.prev].next) = gpu.next;
    (gpu.next == kNone ? draining_.tail : gpus_[gpu.next].prev) = gpu.prev;
  }
  gpu = {};
  const auto change = static_cast<std::int32_t>(state == GpuState::kFree) -
                      static_cast<std::int32_t>(old == GpuState::kFree);
  if (change != 0) restock(layout_->group_of(index), change);
}

void State::restock(std::uint32_t group, std::int32_t by) {
  Stock& stock = stocks_[group];
  const std::uint32_t kind = layout_->groups()[group].kind;
  Pool& pool = pools_[kind];
  if (stock.free > 0) {
    (stock.prev == kNone ? pool.by_free[stock.free] : stocks_[stock.prev].next) = stock.next;
    if (stock.next != kNone) stocks_[stock.next].prev = stock.prev;
  }
  stock.free += static_cast<std::uint32_t>(by);
  pool.free += static_cast<std::uint64_t>(static_cast<std::int64_t>(by));
  if (stock.free > 0) {
    stock.prev = kNone;
    stock.next = std::exchange(pool.by_free[stock.free], group);
    if (stock.next != kNone) stocks_[stock.next].prev = group;
  }
  if (by > 0) mark_changed(kind);
}

void State::drain(std::uint32_t index, TimePoint until) {
  set_gpu(index, GpuState::kDraining);
  Gpu& gpu = gpus_[index];
  gpu.until = until;
  gpu.prev = std::exchange(draining_.tail, index);
  (gpu.prev == kNone ? draining_.head : gpus_[gpu.prev].next) = index;
}

void State::mark_changed(std::uint32_t kind) {
  if (std::exchange(pools_[kind].changed, true)) return;
  changed_.push_back(kind);
}

}  // namespace ionian::allocator
