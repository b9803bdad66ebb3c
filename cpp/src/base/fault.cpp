#include "base/fault.hpp"

#if IONIAN_FAULTS
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string_view>

#include "ionian/error.hpp"

// The linker's: where the names of the points begin and end.
extern "C" {
extern const char __start_ionian_fault_points[] __attribute__((weak));  // NOLINT
extern const char __stop_ionian_fault_points[] __attribute__((weak));   // NOLINT
}

namespace ionian::fault {
namespace {

struct Rule {
  std::string name;  // without the "*"
  bool prefix = false;
  double probability = 1;
  std::string action;
  long number = 0;
  int times = 1;
  int skip = 0;
  std::shared_ptr<std::atomic<int>> passed = std::make_shared<std::atomic<int>>(0);
};

struct Plan {
  std::vector<Rule> rules;
  std::uint64_t seed = 0;
  std::string hits;
};

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return parts;
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Plan read_plan() {
  Plan plan;
  plan.hits = variable("IONIAN_FAULT_HITS");
  plan.seed = std::strtoull(variable("IONIAN_FAULT_SEED").c_str(), nullptr, 10);
  for (const auto& text : split(variable("IONIAN_FAULT"), ';')) {
    const auto parts = split(text, ':');
    Rule rule;
    if (parts.size() >= 3) {
      rule.name = parts[0];
      rule.probability = std::strtod(parts[1].c_str(), nullptr);
      const auto action = split(parts[2], '=');
      rule.action = action.front();
      if (action.size() > 1) rule.number = std::strtol(action[1].c_str(), nullptr, 10);
      if (parts.size() > 3) rule.times = std::atoi(parts[3].c_str());
      if (parts.size() > 4) rule.skip = std::atoi(parts[4].c_str());
    }
    constexpr std::string_view kActions[] = {"crash", "stop", "delay", "errno"};  // NOLINT
    if (std::find(std::begin(kActions), std::end(kActions), rule.action) == std::end(kActions)) {
      std::fprintf(stderr, "IONIAN_FAULT: \"%s\" is not name:probability:action\n", text.c_str());
      std::_Exit(2);
    }
    rule.prefix = rule.name.ends_with('*');
    if (rule.prefix) rule.name.pop_back();
    plan.rules.push_back(std::move(rule));
  }
  return plan;
}

/// Returns a number from 0 to 1 for the `count`th draw at a point.
double draw(std::uint64_t seed, std::string_view name, std::uint64_t count) {
  std::uint64_t x = seed + std::hash<std::string_view>{}(name) + count * 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return static_cast<double>((x ^ (x >> 31)) >> 11) * 0x1.0p-53;
}

/// Makes a file in the folder of hits; returns whether it was not there before.
bool mark(const Plan& plan, const std::string& name) {
  const std::string path = plan.hits + "/" + name;
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd >= 0) ::close(fd);
  return fd >= 0;
}

/// Returns whether this is one of the times that the rule allows.
bool claim(const Plan& plan, const Rule& rule) {
  for (int time = 0; time < rule.times; ++time) {
    if (mark(plan, "fired." + rule.name + "." + rule.action + "." + std::to_string(time)))
      return true;
  }
  return false;
}

}  // namespace

void hit(const char* name) {
  static const Plan plan = [] {
    Plan read = read_plan();
    if (!read.hits.empty()) {
      for (const auto& point : points()) mark(read, "known." + point);
    }
    return read;
  }();
  if (plan.hits.empty() && plan.rules.empty()) return;
  static std::atomic<std::uint64_t> count{0};
  const int before = errno;  // a point must not change what its neighbours look at
  if (!plan.hits.empty()) mark(plan, name);
  for (const auto& rule : plan.rules) {
    if (rule.prefix ? !std::string_view(name).starts_with(rule.name) : rule.name != name) continue;
    if ((*rule.passed)++ < rule.skip) continue;
    if (draw(plan.seed, name, count++) >= rule.probability || !claim(plan, rule)) continue;
    if (rule.action == "crash") ::kill(::getpid(), SIGKILL);
    if (rule.action == "stop") ::kill(::getpid(), SIGSTOP);
    if (rule.action == "delay") ::usleep(static_cast<useconds_t>(rule.number) * 1000);
    if (rule.action == "errno")
      throw_errno(std::string("[fault] ") + name, static_cast<int>(rule.number));
  }
  errno = before;
}

std::vector<std::string> points() {
  std::vector<std::string> names;
  for (const char* at = __start_ionian_fault_points; at < __stop_ionian_fault_points;) {
    const std::size_t length = std::strlen(at);
    if (length != 0) names.emplace_back(at, length);
    at += length + 1;  // padding reads as empty names
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace ionian::fault
#endif
