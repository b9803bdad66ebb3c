#include "lease/explain.hpp"

#include <algorithm>
#include <chrono>
#include <limits>
#include <map>
#include <set>

#include "lease/policy.hpp"

namespace ionian {
namespace {

/// Of those ahead; people read the first few.
constexpr std::size_t kMostShown = 10;

std::string age(std::int64_t since_ns) {
  const auto now = std::chrono::duration_cast<std::chrono::nanoseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  const std::int64_t seconds = std::max<std::int64_t>(0, now - since_ns) / 1'000'000'000;
  if (seconds < 120) return std::to_string(seconds) + " s";
  if (seconds < 7200) return std::to_string(seconds / 60) + " min";
  return std::to_string(seconds / 3600) + " h";
}

std::string user_of(const LeaseOwner& owner) {
  return owner.user.empty() ? "uid " + std::to_string(owner.uid) : owner.user;
}

std::string who(const LeaseOwner& owner) {
  if (owner.pid == 0) return "somebody (its lock file does not say who)";
  std::string text = user_of(owner) + ", pid " + std::to_string(owner.pid);
  if (!owner.app.empty()) text += ", app " + owner.app;
  if (!owner.function.empty()) text += ", function " + owner.function;
  return text + ", for " + age(owner.since_ns);
}

std::string quarantined(const Quarantine& quarantine) {
  std::string text =
      "quarantined for " + age(quarantine.finder.since_ns) + ": " + quarantine.reason;
  if (!quarantine.action.empty()) text += "; " + quarantine.action;
  if (!quarantine.found_now.empty() && quarantine.found_now != quarantine.reason) {
    text += "; last probe: " + quarantine.found_now;
  }
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(quarantine.probe_in).count();
  return text + (seconds == 0 ? "; a probe is due"
                              : "; probed again in " + std::to_string(seconds) + " s");
}

std::string state_of(const LeaseStatus& status) {
  switch (status.state) {
    case LeaseStatus::State::kFree:
      return "free";
    case LeaseStatus::State::kLeased:
      return "leased by " + who(status.owner.value_or(LeaseOwner{}));
    case LeaseStatus::State::kDraining:
      return "draining for " + age(status.draining_since_ns) + ": its lease has ended, and " +
             status.left + " is still on it";
    case LeaseStatus::State::kQuarantined:
      return quarantined(*status.quarantine);
    case LeaseStatus::State::kExternal:
      break;
  }
  std::string text = "used outside ionian by";
  for (const auto& process : status.strangers) {
    text += " pid " + std::to_string(process.pid);
    if (!process.command.empty()) text += " (" + process.command + ")";
    if (!process.user.empty()) text += " of " + process.user;
  }
  return text;
}

class Sentence {
 public:
  explicit Sentence(const LeaseExplanation& explanation) : explanation_(explanation) {}

  /// Returns "H100 GPU-1, H100 GPU-2".
  [[nodiscard]] std::string names(const std::vector<std::string>& uuids) const {
    std::string text;
    for (const auto& uuid : uuids) {
      const std::string type = status(uuid).type;
      if (!text.empty()) text += ", ";
      if (!type.empty()) text.append(type).append(" ");
      text += uuid;
    }
    return text;
  }

  /// Returns "needs 2 x H100; 1 free (H100 GPU-1); 1 leased by ana, … (H100 GPU-2)".
  std::string operator()(const LeaseObstacles& obstacles) const {
    const std::string type = obstacles.item.substr(0, obstacles.item.find(':'));
    const std::string needs = std::to_string(obstacles.count) + " x " + type;
    const std::size_t in_all =
        obstacles.free.size() + obstacles.busy.size() + obstacles.kept.size();
    if (!obstacles.possible) {
      return "can never be " + needs + ": this machine has " +
             (in_all == 0 ? "none" : std::to_string(in_all) + " that would do");
    }
    std::string text = "needs " + needs + "; " + std::to_string(obstacles.free.size()) + " free" +
                       in_brackets(obstacles.free);
    std::vector<std::pair<std::string, std::vector<std::string>>> held;  // by what is said of them
    for (const auto& uuid : obstacles.busy) add(held, state_of(status(uuid)), uuid);
    for (const auto& kept : obstacles.kept) add(held, reservation(kept.request), kept.uuid);
    for (const auto& [what, uuids] : held) {
      text += "; " + std::to_string(uuids.size()) + " " + what + in_brackets(uuids);
    }
    return text;
  }

 private:
  [[nodiscard]] std::string in_brackets(const std::vector<std::string>& uuids) const {
    return uuids.empty() ? "" : " (" + names(uuids) + ")";
  }
  static void add(std::vector<std::pair<std::string, std::vector<std::string>>>& held,
                  const std::string& what, const std::string& uuid) {
    auto found = std::find_if(held.begin(), held.end(),
                              [&](const auto& each) { return each.first == what; });
    if (found == held.end()) found = held.insert(found, {what, {}});
    found->second.push_back(uuid);
  }
  [[nodiscard]] LeaseStatus status(const std::string& uuid) const {
    const auto found = std::find_if(explanation_.gpus.begin(), explanation_.gpus.end(),
                                    [&](const auto& each) { return each.uuid == uuid; });
    return found == explanation_.gpus.end() ? LeaseStatus{} : *found;
  }
  [[nodiscard]] std::string reservation(std::uint64_t number) const {
    std::string text = "kept for request " + std::to_string(number);
    for (const auto& ticket : explanation_.queue) {
      if (ticket.number == number)
        text += " of " + user_of(ticket.owner) + " (" + ticket.request + ")";
    }
    return text + ", which came earlier";
  }

  const LeaseExplanation& explanation_;
};

}  // namespace

LeaseExplanation explain(const Machine& machine, std::vector<LeaseStatus> gpus,
                         const std::vector<QueuedRequest>& ahead, const QueuedRequest& asked,
                         const std::vector<std::string>& items) {
  allocator::State state(machine);
  const allocator::TimePoint now{};
  for (std::size_t i = 0; i < gpus.size(); ++i) {
    if (gpus[i].state == LeaseStatus::State::kFree) continue;
    const std::uint64_t id = std::numeric_limits<std::uint64_t>::max() - i;
    allocator::step(state, allocator::Held{id, id, {i}}, now);
  }
  std::vector<allocator::Effect> effects;
  const auto ask = [&](const QueuedRequest& each) {
    const auto demand = allocator::demand(state.layout(), each.alternatives);
    allocator::step(state, allocator::Request{{each.request, each.request, demand}}, now, effects);
  };
  for (const auto& each : ahead) ask(each);
  ask(asked);

  LeaseExplanation explanation;
  explanation.position = ahead.size();
  std::map<std::size_t, std::uint64_t> kept;  // by GPU: the first that has a claim
  std::set<std::uint64_t> granted;
  for (const auto& effect : effects) {
    const auto* grant = std::get_if<allocator::Grant>(&effect);
    if (grant == nullptr) continue;
    granted.insert(grant->request);
    for (const std::size_t gpu : grant->gpus) {
      if (grant->request == asked.request) {
        explanation.grant.push_back(gpus[gpu].uuid);
      } else {
        kept.emplace(gpu, grant->request);
      }
    }
  }
  for (const auto& waiting : ahead) {
    if (granted.contains(waiting.request)) continue;
    for (const Alternative& alternative : waiting.alternatives) {
      for (const auto& model : by_model(machine, alternative, [](std::size_t) { return true; })) {
        if (model.size() < alternative.count) continue;  // it can never serve
        for (const std::size_t gpu : model) kept.emplace(gpu, waiting.request);
      }
    }
  }
  for (std::size_t i = 0; i < asked.alternatives.size(); ++i) {
    const Alternative& alternative = asked.alternatives[i];
    LeaseObstacles obstacles;
    obstacles.item = i < items.size() ? items[i] : alternative.type;
    obstacles.count = alternative.count;
    obstacles.possible = policy::possible(machine, alternative);
    for (const std::size_t gpu : alternative.gpus) {
      const auto claim = kept.find(gpu);
      if (gpus[gpu].state != LeaseStatus::State::kFree) {
        obstacles.busy.push_back(gpus[gpu].uuid);
      } else if (claim != kept.end()) {
        obstacles.kept.push_back({gpus[gpu].uuid, claim->second});
      } else {
        obstacles.free.push_back(gpus[gpu].uuid);
      }
    }
    explanation.alternatives.push_back(std::move(obstacles));
  }
  explanation.gpus = std::move(gpus);
  return explanation;
}

std::string LeaseExplanation::to_string() const {
  if (!never.empty()) return request + " can never be granted here: " + never;
  const Sentence sentence(*this);
  if (!grant.empty()) {
    return request + (queued ? " is about to be granted: " : " would be granted now: ") +
           sentence.names(grant);
  }
  const auto free = std::count_if(gpus.begin(), gpus.end(), [](const LeaseStatus& each) {
    return each.state == LeaseStatus::State::kFree;
  });
  std::string text = (queued ? "waiting for " + request : request + " would wait") + ": " +
                     std::to_string(free) + " of " + std::to_string(gpus.size()) + " GPUs free, " +
                     (position == 0 ? "next in line"
                                    : std::to_string(position) +
                                          (position == 1 ? " request" : " requests") + " ahead");
  if (!possible_now) {
    text +=
        "\n  not possible now, but later: it needs a GPU that is quarantined, and goes on once a "
        "probe finds it well";
  }
  for (const auto& obstacles : alternatives) {
    text += "\n  " + obstacles.item + " " + sentence(obstacles);
  }
  const std::size_t shown = position > kMostShown + 1 ? kMostShown : position;
  for (std::size_t i = 0; i < std::min(shown, queue.size()); ++i) {
    text += "\n  ahead: request " + std::to_string(queue[i].number) + ", " + queue[i].request +
            " by " + who(queue[i].owner);
  }
  if (shown < position) text += "\n  and " + std::to_string(position - shown) + " more ahead";
  return text;
}

}  // namespace ionian
