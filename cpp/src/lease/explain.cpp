// What people read while they wait.
#include <algorithm>
#include <chrono>

#include "ionian/lease.hpp"

namespace ionian {
namespace {

std::string age(std::int64_t since_ns) {
  const auto now = std::chrono::duration_cast<std::chrono::nanoseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  const std::int64_t seconds = std::max<std::int64_t>(0, now - since_ns) / 1'000'000'000;
  if (seconds < 120) return std::to_string(seconds) + " s";
  if (seconds < 7200) return std::to_string(seconds / 60) + " min";
  return std::to_string(seconds / 3600) + " h";
}

std::string who(const LeaseOwner& owner) {
  if (owner.pid == 0) return "somebody (its lock file does not say who)";
  std::string text = owner.user.empty() ? "uid " + std::to_string(owner.uid) : owner.user;
  text += ", pid " + std::to_string(owner.pid);
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

}  // namespace

std::string LeaseExplanation::to_string(const Inventory& inventory) const {
  const auto free = std::count_if(gpus.begin(), gpus.end(), [](const LeaseStatus& each) {
    return each.state == LeaseStatus::State::kFree;
  });
  std::string text = "waiting for " + request + ": " + std::to_string(free) + " of " +
                     std::to_string(gpus.size()) + " GPUs free, " +
                     (position == 0 ? "next in line"
                                    : std::to_string(position) +
                                          (position == 1 ? " request" : " requests") + " ahead");
  if (!possible_now) {
    text +=
        "\n  not possible now, but later: it needs a GPU that is quarantined, and goes on once a "
        "probe finds it well";
  }
  for (const auto& status : gpus) {
    const Device* device = inventory.find(status.uuid);
    text += "\n  " + (device == nullptr ? "" : device->type + " ") + status.uuid + ": " +
            state_of(status);
  }
  for (std::size_t i = 0; i < std::min(position, queue.size()); ++i) {
    text += "\n  ahead: " + queue[i].request + " by " + who(queue[i].owner);
  }
  return text;
}

}  // namespace ionian
