#include "lease/simulation.hpp"

#include <chrono>
#include <deque>
#include <utility>
#include <vector>

#include "support/allocator_scene.hpp"

namespace ionian::simulation {
namespace {

namespace events = allocator;
using allocator::Event;
using std::chrono::milliseconds;

std::string to_string(const Event& event) {
  struct Name {
    static std::string of(std::uint64_t id) { return " " + std::to_string(id); }
    std::string operator()(const events::Request& e) const {
      return "Request" + of(e.waiting.request) + " of client" + of(e.waiting.client);
    }
    std::string operator()(const events::Cancel& e) const { return "Cancel" + of(e.request); }
    std::string operator()(const events::ClientDied& e) const {
      return "ClientDied" + of(e.client);
    }
    std::string operator()(const events::Release& e) const { return "Release" + of(e.request); }
    std::string operator()(const events::Held& e) const {
      std::string text = "Held" + of(e.request) + ":";
      for (const std::size_t gpu : e.gpus) text += of(gpu);
      return text;
    }
    std::string operator()(const events::Drained& e) const { return "Drained" + of(e.gpu); }
    std::string operator()(const events::StrangerCame& e) const {
      return "StrangerCame" + of(e.gpu);
    }
    std::string operator()(const events::StrangerLeft& e) const {
      return "StrangerLeft" + of(e.gpu);
    }
    std::string operator()(const events::GpuLost& e) const { return "GpuLost" + of(e.gpu); }
    std::string operator()(const events::GpuRecovered& e) const {
      return "GpuRecovered" + of(e.gpu);
    }
    std::string operator()(const events::Tick&) const { return "Tick"; }
  };
  return std::visit(Name{}, event);
}

/// An event on its way, with what its request asks.
struct Message {
  Event event = events::Tick{};
  const Ask* ask = nullptr;
};

class Episode {
 public:
  explicit Episode(std::uint64_t seed)
      : random_(seed),
        scene_(random_),
        state_(scene_.layout),
        ledger_(scene_.machine, scene_.hosts) {
    late_.reserve(kLate);
  }

  Result run(std::uint64_t count, bool trace) {
    std::deque<std::string> last;
    const char* broken = nullptr;
    while (broken == nullptr && result_.events < count) {
      ++result_.events;
      if (random_.one_in(2048)) {
        if (trace) last.emplace_back("restart");
        broken = restart();
        continue;
      }
      const Message message = next();
      if (trace) last.push_back(to_string(message.event));
      if (last.size() > 40) last.pop_front();
      effects_.clear();
      allocator::step(state_, message.event, now_, effects_);
      broken = ledger_.book(message.event, message.ask, now_, effects_, state_);
      if (broken == nullptr && result_.events % 1024 == 0) broken = ledger_.audit(state_);
    }
    result_.grants = ledger_.grants();
    result_.longest_wait = ledger_.longest_wait();
    if (broken != nullptr) {
      result_.violation = "event " + std::to_string(result_.events) + ": " + broken;
      for (const auto& line : last) result_.violation += "\n  " + line;
    }
    return std::move(result_);
  }

 private:
  static constexpr std::size_t kLate = 8;
  static constexpr std::size_t kMostWaiting = 12;

  /// Messages mostly come in order; some come late, some twice, at once or later.
  Message next() {
    now_ += milliseconds(random_.below(100));
    if (random_.one_in(512)) now_ += allocator::kDrainLimit;
    if (!late_.empty() && random_.one_in(16)) return take_late();
    Message message = make();
    if (const auto* death = std::get_if<events::ClientDied>(&message.event)) {
      ++result_.deaths;
      // The kernel ends a client's socket after the last of its messages.
      std::erase_if(late_, [&](const Message& each) {
        const auto* request = std::get_if<events::Request>(&each.event);
        return request != nullptr && request->waiting.client == death->client;
      });
    } else if (late_.size() < kLate && random_.one_in(16)) {
      late_.push_back(message);
      if (random_.one_in(2)) return {};  // only later
    }
    return message;
  }

  Message take_late() {
    std::swap(late_[random_.below(late_.size())], late_.back());
    Message message = std::move(late_.back());
    late_.pop_back();
    return message;
  }

  Message make() {
    const std::uint32_t what = random_.below(64);
    if (what < 20) return ledger_.waiting().size() < kMostWaiting ? request() : Message{};
    if (what < 36) {
      if (ledger_.leases().empty()) return request();
      return {events::Release{ledger_.leases()[random_.below(ledger_.leases().size())].request}};
    }
    if (what < 52) return {events::Drained{one_of(GpuState::kDraining)}};
    if (what < 55) {
      if (ledger_.waiting().empty()) return {events::Cancel{random_() % (request_ + 1)}};
      return {events::Cancel{ledger_.waiting()[random_.below(ledger_.waiting().size())].request}};
    }
    switch (what) {
      case 55:
        return {events::ClientDied{client()}};
      case 56:
        return {events::StrangerCame{gpu()}};
      case 57:
      case 58:
        return {events::StrangerLeft{one_of(GpuState::kBusyExternal)}};
      case 59:
        return {events::GpuLost{gpu()}};
      case 60:
      case 61:
        return {events::GpuRecovered{one_of(GpuState::kQuarantined)}};
      case 62:
        return random_.one_in(8) ? held() : Message{};
      default:
        return {events::Tick{}};
    }
  }

  Message request() {
    const Ask& ask = scene_.asks[random_.below(scene_.asks.size())];
    return {events::Request{{++request_, client(), ask.demand}}, &ask};
  }
  Message held() {
    events::Held held{++request_, client(), {}};
    for (std::size_t i = random_.below(3); i < 3; ++i) held.gpus.push_back(gpu());
    return {std::move(held)};
  }
  std::uint64_t client() { return 1 + random_.below(6); }
  std::size_t gpu() { return random_.below(state_.size()); }
  /// Returns a GPU in that state; mostly, and if there is one.
  std::size_t one_of(GpuState state) {
    const std::size_t any = gpu();
    const Mask all = ledger_.of(state);
    if (all == 0 || random_.one_in(16)) return any;
    const Mask from = all >> any;  // the next one, round the end
    return from != 0 ? any + static_cast<std::size_t>(std::countr_zero(from))
                     : static_cast<std::size_t>(std::countr_zero(all));
  }

  const char* restart() {
    ++result_.restarts;
    state_ = allocator::State(scene_.layout);
    effects_.clear();
    for (const auto& known : ledger_.restart()) {
      allocator::step(state_, known.event, now_, effects_);
    }
    return ledger_.book_restart(effects_, state_);
  }

  Random random_;
  Scene scene_;
  allocator::State state_;
  Ledger ledger_;
  std::vector<Message> late_;
  std::vector<allocator::Effect> effects_;
  TimePoint now_{};
  std::uint64_t request_ = 0;
  Result result_;
};

}  // namespace

Result run_episode(std::uint64_t seed, std::uint64_t episode, std::uint64_t count, bool trace) {
  Random mix(seed * 0x100000001b3U + episode);
  return Episode(mix()).run(count, trace);
}

}  // namespace ionian::simulation
