// fake_machine.hpp: the machine of the fake NVML: what its file says, and the events that came
// since.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gpu/nvml_api.hpp"

namespace fake_nvml {

constexpr int kSuccess = 0;
constexpr int kUninitialized = 1;
constexpr int kInvalidArgument = 2;
constexpr int kNotSupported = 3;
constexpr int kNotFound = 6;
constexpr int kInsufficientSize = 7;
constexpr int kTimeout = 10;

using ionian::nvml::EventData;
using ionian::nvml::EventSet;
using ionian::nvml::FieldValue;
using ionian::nvml::Handle;
using ionian::nvml::Memory;
using ionian::nvml::PciInfo;

using Fields = std::map<std::string, std::string>;

inline std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

struct Gpu {
  int index = 0;
  Gpu* whole = nullptr;
  Fields fields;
  std::deque<Gpu> slices;

  [[nodiscard]] std::string text(const std::string& key) const {
    const auto found = fields.find(key);
    return found == fields.end() ? "" : found->second;
  }
  [[nodiscard]] unsigned long long number(const std::string& key) const {
    return std::strtoull(text(key).c_str(), nullptr, 0);
  }
  [[nodiscard]] int error(const std::string& key) const { return static_cast<int>(number(key)); }
};

struct Machine {
  std::string file;
  std::string driver = "580.95.05";
  int init = kSuccess;
  int count_error = kSuccess;
  unsigned long long count = ~0ULL;
  std::string hang;
  std::deque<Gpu> gpus;
  std::map<std::pair<int, int>, int> ancestors;
  std::map<std::pair<int, int>, int> p2p;
};

inline Fields read_fields(const std::string& text) {
  Fields fields;
  for (const auto& part : split(text, ';')) {
    const auto equals = part.find('=');
    fields[part.substr(0, equals)] = part.substr(std::min(equals, part.size() - 1) + 1);
  }
  return fields;
}

inline void read_statement(Machine& machine, const std::string& word, const std::string& rest) {
  std::istringstream stream(rest);
  if (word == "driver") machine.driver = rest;
  if (word == "init") stream >> machine.init;
  if (word == "count") stream >> machine.count;
  if (word == "count_error") stream >> machine.count_error;
  if (word == "hang") machine.hang = rest;
  if (word == "gpu") {
    machine.gpus.push_back({static_cast<int>(machine.gpus.size()), nullptr, read_fields(rest), {}});
  }
  if (word == "slice") {
    Gpu& whole = machine.gpus.back();
    whole.slices.push_back({whole.index, &whole, read_fields(rest), {}});
  }
  if (word == "ancestor" || word == "p2p") {
    int a = 0;
    int b = 0;
    int value = 0;
    stream >> a >> b >> value;
    auto& pairs = word == "p2p" ? machine.p2p : machine.ancestors;
    pairs[{a, b}] = pairs[{b, a}] = value;
  }
}

inline std::mutex mutex;
// Old ones stay, also at the exit: a call may hang in one.
inline auto& machines = *new std::vector<std::unique_ptr<Machine>>;
inline std::atomic<Machine*> machine = nullptr;

/// Reads the file, and returns what it says; the former machine stays.
inline Machine* read_machine() {
  auto fresh = std::make_unique<Machine>();
  const char* name = std::getenv("FAKE_NVML");
  fresh->file = name == nullptr ? "" : name;
  std::ifstream file(fresh->file);
  for (std::string line; std::getline(file, line);) {
    const auto space = line.find(' ');
    if (space != std::string::npos) {
      read_statement(*fresh, line.substr(0, space), line.substr(space + 1));
    }
  }
  const std::scoped_lock lock(mutex);
  Machine* now = machines.emplace_back(std::move(fresh)).get();
  machine = now;
  return now;
}

struct Event {
  std::string uuid;
  unsigned xid = 0;
  unsigned instance = ionian::nvml::kNoInstance;
};

inline std::vector<Event> read_events() {
  const Machine* now = machine;
  std::ifstream file((now == nullptr ? "" : now->file) + ".events");
  std::vector<Event> events;
  for (std::string line; std::getline(file, line);) {
    std::istringstream stream(line);
    Event event;
    if (stream >> event.uuid >> event.xid) {
      stream >> event.instance;
      events.push_back(std::move(event));
    }
  }
  return events;
}

/// What nvmlEventSet_t points to: the GPUs that it knows by UUID, and how many events it has seen.
struct Events {
  std::map<std::string, Handle> gpus;
  std::size_t seen = read_events().size();
};

inline void hang_in(const char* function) {
  const Machine* now = machine;
  if (now == nullptr || now->hang != function) return;
  const std::string release = now->file + ".release";
  while (!std::ifstream(release)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

inline int copy(const std::string& text, char* out, unsigned length) {
  if (text.size() + 1 > length) return kInsufficientSize;
  std::memcpy(out, text.c_str(), text.size() + 1);
  return kSuccess;
}

inline int pair_value(const std::map<std::pair<int, int>, int>& pairs, const Gpu* a, const Gpu* b,
                      int* out) {
  const auto found = pairs.find({a->index, b->index});
  if (found == pairs.end()) return kNotSupported;
  *out = found->second;
  return kSuccess;
}

/// Returns where each NVLink of a GPU ends: "switch" or a bus id.
inline std::vector<std::string> nvlinks(const Gpu* gpu) {
  std::vector<std::string> ends;
  for (const auto& part : split(gpu->text("nvlinks"), ',')) {
    const auto star = part.find('*');
    const int times = star == std::string::npos ? 1 : std::atoi(part.c_str() + star + 1);
    ends.insert(ends.end(), static_cast<std::size_t>(times), part.substr(0, star));
  }
  return ends;
}

inline int fill_pci(const std::string& bus_id, PciInfo* out) {
  *out = {};
  return copy(bus_id, out->bus_id.data(), out->bus_id.size());
}

template <class Entry>
inline int list_processes(const Gpu* gpu, unsigned* count, Entry* entries) {
  if (const int error = gpu->error("process_error"); error != 0) return error;
  const auto parts = split(gpu->text("processes"), ',');
  const unsigned room = *count;
  *count = static_cast<unsigned>(parts.size());
  if (parts.size() > room) return kInsufficientSize;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto colon = parts[i].find(':');
    std::memset(&entries[i], 0xee, sizeof(Entry));
    entries[i].pid = static_cast<unsigned>(std::strtoul(parts[i].c_str(), nullptr, 10));
    entries[i].memory = parts[i].substr(colon + 1) == "unknown"
                            ? ~0ULL
                            : std::strtoull(parts[i].c_str() + colon + 1, nullptr, 10);
  }
  return kSuccess;
}

inline Handle handle_of(Gpu& gpu) { return reinterpret_cast<Handle>(&gpu); }
inline Gpu& gpu_of(Handle handle) { return *reinterpret_cast<Gpu*>(handle); }

}  // namespace fake_nvml
