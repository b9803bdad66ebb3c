// Bytes → a machine, requests and events → the allocator, with its invariants checked after each
// event. Every byte string means something: the first byte chooses a machine, then two bytes are an
// event.
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "support/allocator_scene.hpp"

namespace {

using namespace ionian;
using allocator::Event;
using simulation::Ask;

struct Message {
  Event event = allocator::Tick{};
  const Ask* ask = nullptr;
};

/// Small numbers, so that events meet: 32 requests, 4 clients, all GPUs and one that is not there.
Message message(std::uint8_t kind, std::uint8_t value, const simulation::Scene& scene) {
  const std::uint64_t request = 1 + value % 32;
  const std::uint64_t client = 1 + value % 4;
  const std::size_t gpu = value % (scene.layout->size() + 1);
  switch (kind % 12) {
    case 0:
    case 1: {
      const Ask& ask = scene.asks[(kind / 12 + value / 32) % scene.asks.size()];
      return {allocator::Request{{request, client, ask.demand}}, &ask};
    }
    case 2:
      return {allocator::Release{request}};
    case 3:
      return {allocator::Cancel{request}};
    case 4:
      return {allocator::ClientDied{client}};
    case 5:
      return {allocator::Held{request, client, {gpu, (gpu + kind / 12) % scene.layout->size()}}};
    case 6:
    case 7:
      return {allocator::Drained{gpu}};
    case 8:
      return {allocator::StrangerCame{gpu}};
    case 9:
      return {allocator::StrangerLeft{gpu}};
    case 10:
      return {allocator::GpuLost{gpu}};
    default:
      return value < 128 ? Message{allocator::GpuRecovered{gpu}} : Message{};
  }
}

/// The same machine for the same byte; made once, for making one takes longer than a run on it.
const simulation::Scene& scene_of(std::uint8_t byte) {
  static std::array<std::unique_ptr<simulation::Scene>, 256> scenes;
  auto& scene = scenes[byte];
  if (!scene) {
    simulation::Random random(byte);
    scene = std::make_unique<simulation::Scene>(random);
  }
  return *scene;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const simulation::Scene& scene = scene_of(data[0]);
  allocator::State state(scene.layout);
  simulation::Ledger ledger(scene.machine, scene.hosts);
  std::vector<allocator::Effect> effects;
  allocator::TimePoint now{};
  for (std::size_t i = 1; i + 1 < size; i += 2) {
    // A second an event, so that what does not drain is given up after ten.
    now += std::chrono::seconds(1);
    const Message next = message(data[i], data[i + 1], scene);
    effects.clear();
    allocator::step(state, next.event, now, effects);
    const char* broken = ledger.book(next.event, next.ask, now, effects, state);
    if (broken == nullptr) broken = ledger.audit(state);
    if (broken == nullptr) continue;
    std::fprintf(stderr, "event %zu: %s\n", i / 2, broken);
    std::abort();
  }
  return 0;
}
