// The queue of the lease book: tickets in, the order of service and explanations out.
#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>

#include "base/fault.hpp"
#include "gpu/split.hpp"
#include "ionian/error.hpp"
#include "lease/call_chain.hpp"
#include "lease/explain.hpp"
#include "lease/lease_book.hpp"
#include "lease/satisfiable.hpp"

namespace ionian {
namespace {

constexpr const char* kOrderFile = "queue";
/// So many who have left, found on the way, are worth writing the queue down anew.
constexpr std::size_t kManyLeft = 16;
/// So many are woken by every change; those behind look at intervals.
constexpr std::size_t kInFront = 16;

std::string ticket_name(std::size_t slot) {
  std::array<char, 32> name{};
  std::snprintf(name.data(), name.size(), "ticket-%05zu", slot);
  return name.data();
}

/// Returns whether a wish for `wished` can be served with `device`: the same, or one a slice of the
/// other.
bool serves(const std::string& device, const std::string& wished) {
  if (device == wished) return true;
  return is_slice(device) != is_slice(wished) && gpu_of(device) == gpu_of(wished);
}

}  // namespace

std::vector<QueuePlace> LeaseBook::Impl::find_order() {
  std::vector<QueuePlace> order;
  // Slots are taken from the lowest, so the first file that does not exist ends them.
  for (std::size_t slot = 0;; ++slot) {
    const auto look = directory_.look(ticket_name(slot));
    if (!look) break;
    if (!look->held) continue;
    if (const auto record = LeaseRecord::parse(look->text))
      order.push_back({record->number, slot, !record->held.empty()});
  }
  std::sort(order.begin(), order.end(),
            [](const QueuePlace& a, const QueuePlace& b) { return a.number < b.number; });
  write_order(order);
  return order;
}

void LeaseBook::Impl::write_order(const std::vector<QueuePlace>& order) {
  FAULT("lease.order");
  directory_.replace(kOrderFile, to_string(order));
}

std::vector<QueuePlace> LeaseBook::Impl::read_order() {
  const auto text = directory_.read(kOrderFile);
  auto order = text ? parse_queue_order(*text) : std::nullopt;
  return order ? std::move(*order) : find_order();
}

std::optional<Ticket> LeaseBook::Impl::read_ticket(const QueuePlace& place) const {
  const auto look = directory_.look(ticket_name(place.slot));
  if (!look || !look->held) return std::nullopt;
  auto record = LeaseRecord::parse(look->text);
  if (!record || record->number != place.number) return std::nullopt;  // the slot is another's
  return Ticket{std::move(*record)};
}

std::vector<Ticket> LeaseBook::Impl::read_tickets(const std::vector<QueuePlace>& order,
                                                  std::size_t most) const {
  std::vector<Ticket> tickets;
  for (const QueuePlace& place : order) {
    if (tickets.size() >= most && !place.nested) continue;
    if (auto ticket = read_ticket(place)) tickets.push_back(std::move(*ticket));
  }
  return tickets;
}

LeaseTicket Ticket::public_view() const {
  std::string request;
  for (const auto& wish : record.wishes) request += (request.empty() ? "" : ", ") + wish.item;
  if (record.wishes.size() > 1) request = "[" + request + "]";
  return {record.number, std::move(request), record.owner};
}

LeaseRecord LeaseBook::Impl::record_of(const GpuRequest& request, LeaseOwner owner,
                                       const std::vector<std::string>& held_by_ancestors) const {
  LeaseRecord record;
  record.owner = std::move(owner);
  record.held = held_by_ancestors;
  const Inventory now = inventory_now();
  for (const auto& item : request.alternatives()) {
    LeaseRecord::Wish wish{item.to_string(), {}};
    const auto bound = bind(item, now, options.match, held_by_ancestors);
    for (const std::size_t gpu : bound.gpus) wish.uuids.push_back(now.devices[gpu].uuid);
    record.wishes.push_back(std::move(wish));
  }
  return record;
}

LockFile LeaseBook::Impl::enter(LeaseRecord& record) {
  FAULT("lease.enter");
  const LockFile book = open_book();
  auto order = read_order();
  // Looked through for those who have left only when it has doubled: a thousand that come one after
  // the other must not each open the tickets of all before.
  if (order.size() >= kManyLeft && std::has_single_bit(order.size()))
    std::erase_if(order, [this](const QueuePlace& place) { return !read_ticket(place); });
  std::vector<bool> taken(order.size());
  for (const QueuePlace& place : order) {
    if (place.slot < taken.size()) taken[place.slot] = true;
  }
  record.number = order.empty() ? 1 : order.back().number + 1;
  for (std::size_t slot = 0;; ++slot) {
    if (slot < taken.size() && taken[slot]) continue;
    const std::string name = ticket_name(slot);
    if (directory_.is_held(name)) continue;
    LockFile ticket = directory_.try_lock(name);
    if (!ticket) continue;
    FAULT("lease.ticket");
    LockDirectory::write(ticket, record.to_string());
    positions_[record.number] = order.size();
    order.push_back({record.number, slot, !record.held.empty()});
    write_order(order);
    return ticket;
  }
}

std::vector<QueuePlace> LeaseBook::Impl::order_with(const LeaseRecord& asked) {
  auto order = read_order();
  const auto find = [&] {
    return std::find_if(order.begin(), order.end(),
                        [&](const QueuePlace& place) { return place.number == asked.number; });
  };
  if (find() == order.end()) order = find_order();  // somebody has lost us
  positions_[asked.number] = static_cast<std::size_t>(find() - order.begin());
  return order;
}

std::size_t LeaseBook::Impl::position(std::uint64_t number) const {
  const auto found = positions_.find(number);
  return found == positions_.end() ? 0 : found->second;
}

int LeaseBook::Impl::changes() {
  const bool far =
      !positions_.empty() && std::none_of(positions_.begin(), positions_.end(),
                                          [](const auto& each) { return each.second < kInFront; });
  return far ? -1 : directory_.watch();
}

allocator::Waiting LeaseBook::Impl::asking(const wait_graph::Request& request) const {
  const auto& asked = request.waiting;
  return {asked.request, asked.request, allocator::demand(*layout_, asked.alternatives)};
}

std::optional<allocator::Grant> LeaseBook::Impl::granted(
    const std::vector<allocator::Effect>& effects, std::uint64_t number) {
  for (const auto& effect : effects) {
    const auto* grant = std::get_if<allocator::Grant>(&effect);
    if (grant != nullptr && grant->request == number) return *grant;
  }
  return std::nullopt;
}

std::optional<allocator::Grant> LeaseBook::Impl::granted_next(allocator::State state,
                                                              const allocator::Waiting& request) {
  const auto effects = allocator::step(state, allocator::Request{request}, sys::Clock::now());
  return granted(effects, request.request);
}

std::optional<allocator::Grant> LeaseBook::Impl::serve(allocator::State state,
                                                       const allocator::Waiting& mine,
                                                       std::vector<QueuePlace> order,
                                                       const std::vector<bool>& without) {
  std::size_t left = 0;
  std::vector<allocator::Effect> effects;
  auto grant = granted_next(state, mine);
  for (QueuePlace& place : order) {
    if (!grant || place.number >= mine.request) break;
    const auto ticket = read_ticket(place);
    if (!ticket) {
      place.number = 0;
      ++left;
      continue;
    }
    const auto older = asking(waiting(ticket->record, without));
    allocator::step(state, allocator::Request{older}, sys::Clock::now(), effects);
    grant = granted_next(state, mine);
  }
  if (left >= kManyLeft) {
    std::erase_if(order, [](const QueuePlace& place) { return place.number == 0; });
    write_order(order);
  }
  return grant;
}

std::size_t LeaseBook::Impl::count_here(const Alternative& bound,
                                        const LeaseRecord::Wish& wish) const {
  if (bound.gpus.empty() || wish.uuids.empty()) return bound.count;
  const bool slices = is_slice(inventory.devices[bound.gpus.front()].uuid);
  if (slices == is_slice(wish.uuids.front())) return bound.count;
  if (!slices) return std::min(bound.count, bound.gpus.size());
  const auto each = std::count_if(bound.gpus.begin(), bound.gpus.end(), [&](std::size_t device) {
    return gpu_of(inventory.devices[device].uuid) ==
           gpu_of(inventory.devices[bound.gpus.front()].uuid);
  });
  return std::min(bound.count * static_cast<std::size_t>(each), bound.gpus.size());
}

std::vector<bool> LeaseBook::Impl::quarantined() const {
  std::vector<bool> out(inventory.devices.size());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = is_quarantined(i);
  return out;
}

wait_graph::Request LeaseBook::Impl::waiting(const LeaseRecord& record,
                                             const std::vector<bool>& without) const {
  wait_graph::Request result;
  result.waiting.request = record.number;
  for (std::size_t i = 0; i < inventory.devices.size() && !record.held.empty(); ++i) {
    const std::string& uuid = inventory.devices[i].uuid;
    if (std::any_of(record.held.begin(), record.held.end(),
                    [&](const std::string& each) { return serves(uuid, each); })) {
      result.held.push_back(i);
    }
  }
  for (const auto& wish : record.wishes) {
    try {
      const auto request = GpuRequest::parse(wish.item);
      const auto& item = request.alternatives().front();
      Alternative bound{item.type, static_cast<std::size_t>(item.count), {}};
      for (std::size_t i = 0; i < inventory.devices.size(); ++i) {
        const std::string& uuid = inventory.devices[i].uuid;
        const bool wished =
            std::any_of(wish.uuids.begin(), wish.uuids.end(),
                        [&](const std::string& each) { return serves(uuid, each); });
        if (wished && !without[i]) bound.gpus.push_back(i);
      }
      bound.count = count_here(bound, wish);
      result.waiting.alternatives.push_back(std::move(bound));
    } catch (const GpuRequestError&) {
      // Another version's, or nonsense: it claims nothing here.
    }
  }
  return result;
}

std::vector<allocator::Effect> LeaseBook::Impl::add_queue(
    allocator::State& state, const std::vector<Ticket>& tickets) const {
  std::vector<allocator::Effect> effects;
  // A request that needs a quarantined GPU claims nothing: the others must not stand idle.
  for (const auto& each : queue_of(tickets, quarantined()))
    allocator::step(state, allocator::Request{asking(each)}, sys::Clock::now(), effects);
  return effects;
}

std::vector<wait_graph::Request> LeaseBook::Impl::queue_of(const std::vector<Ticket>& tickets,
                                                           const std::vector<bool>& without) const {
  std::vector<wait_graph::Request> queue;
  for (const auto& ticket : tickets) {
    auto each = waiting(ticket.record, without);
    if (!each.waiting.alternatives.empty()) queue.push_back(std::move(each));
  }
  wait_graph::let_nested_pass(machine_, queue);
  return queue;
}

void LeaseBook::Impl::throw_deadlock(const LeaseRecord& asked,
                                     const std::vector<std::uint64_t>& circle,
                                     const std::vector<Ticket>& tickets) const {
  std::string request;
  std::string chains;
  for (const std::uint64_t number : circle) {
    const auto ticket = std::find_if(tickets.begin(), tickets.end(), [&](const Ticket& each) {
      return each.record.number == number;
    });
    const LeaseTicket shown = ticket->public_view();
    if (number == asked.number) request = shown.request;
    chains += "\n  " + call_chain(shown.owner) + " waits for " + shown.request + " and keeps " +
              gpu_names(ticket->record.held, inventory);
  }
  throw LeaseDeadlockError(
      "[gpu=" + request +
      "] it would wait for ever: calls that wait for each other hold the GPUs that they need" +
      chains +
      "\nnext: call the inner function with .local(...), run the outer one without gpu=, or run "
      "fewer of them at once");
}

LeaseExplanation LeaseBook::Impl::explain(const GpuRequest& request, LeaseRecord asked) {
  auto gpus = status();
  auto all = tickets();
  for (const auto& ticket : all) {
    const LeaseOwner& owner = ticket.record.owner;
    if (asked.number == 0 && !owner.run.empty() && owner.run == asked.owner.run &&
        owner.function == asked.owner.function) {
      asked = ticket.record;
    }
  }
  const bool queued = asked.number != 0;
  if (!queued) asked.number = all.empty() ? 1 : all.back().record.number + 1;
  std::vector<Ticket> counted = all;
  if (!queued) counted.push_back({asked});
  std::vector<QueuedRequest> ahead;
  // A quarantined GPU is in its way, and will be well again.
  wait_graph::Request mine = waiting(asked, std::vector<bool>(inventory.devices.size()));
  for (auto& each : queue_of(counted, quarantined())) {
    if (each.waiting.request == asked.number) break;
    ahead.push_back(std::move(each.waiting));
  }
  std::vector<std::string> items;
  for (const auto& wish : asked.wishes) items.push_back(wish.item);
  LeaseExplanation result = ionian::explain(machine_, std::move(gpus), ahead, mine.waiting, items);
  result.request = request.to_string();
  result.queued = queued;
  const Inventory inventory_with_troubles = inventory_now();
  result.possible_now = possible_now(request, inventory_with_troubles, options.match);
  try {
    if (!queued)
      check_satisfiable(request, inventory_with_troubles, options.match, asked.held, asked.owner);
  } catch (const UnsatisfiableError& error) {
    result.never = error.what();
  } catch (const LeaseDeadlockError& error) {
    result.never = error.what();
  }
  for (const auto& each : ahead) {
    const auto ticket = std::find_if(all.begin(), all.end(), [&](const Ticket& other) {
      return other.record.number == each.request;
    });
    result.queue.push_back(ticket->public_view());
  }
  for (const auto& ticket : all) {
    if (std::none_of(ahead.begin(), ahead.end(),
                     [&](const auto& each) { return each.request == ticket.record.number; })) {
      result.queue.push_back(ticket.public_view());
    }
  }
  return result;
}

std::vector<Ticket> LeaseBook::Impl::tickets() {
  const LockFile book = open_book();
  return read_tickets(read_order());
}

}  // namespace ionian
