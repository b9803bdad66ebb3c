#include "lease/quarantine.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>

namespace ionian {
namespace {

using std::chrono::nanoseconds;

constexpr std::string_view kFirstLine = "ionian quarantine 1";
constexpr std::string_view kLastLine = "end";  // what follows is of a longer record before it
constexpr std::size_t kLongestText = 500;
/// Used memory of an empty GPU is not constant: the driver's own structures come and go.
constexpr std::uint64_t kMemoryNoise = std::uint64_t{1} << 30;

std::string_view take_line(std::string_view& text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(text.size(), line.size() + 1));
  return line;
}

template <class Number>
bool read_number(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size();
}

std::string one_line(std::string text) {
  text.resize(std::min(text.size(), kLongestText));
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

}  // namespace

std::string QuarantineRecord::to_string() const {
  std::string text(kFirstLine);
  const auto line = [&](std::string_view field, const std::string& value) {
    text.append("\n").append(field).append(" ").append(one_line(value));
  };
  line("uuid", quarantine.uuid);
  line("reason", quarantine.reason);
  line("action", quarantine.action);
  line("xid", std::to_string(quarantine.xid));
  line("pid", std::to_string(quarantine.finder.pid));
  line("uid", std::to_string(quarantine.finder.uid));
  line("user", quarantine.finder.user);
  line("app", quarantine.finder.app);
  line("since_ns", std::to_string(quarantine.finder.since_ns));
  line("found_now", quarantine.found_now);
  line("boot", boot);
  line("probed_ns", std::to_string(probed_ns));
  line("faults", std::to_string(faults));
  line("memory_bytes", std::to_string(memory_bytes));
  return text.append("\n").append(kLastLine).append("\n");
}

std::optional<QuarantineRecord> QuarantineRecord::parse(std::string_view text) {
  if (take_line(text) != kFirstLine) return std::nullopt;
  QuarantineRecord record;
  Quarantine& quarantine = record.quarantine;
  for (;;) {
    if (text.empty()) return std::nullopt;  // cut short
    const std::string_view line = take_line(text);
    if (line == kLastLine) return record;
    const std::string_view field = line.substr(0, line.find(' '));
    const std::string_view value = line.substr(std::min(line.size(), field.size() + 1));
    bool good = true;
    if (field == "uuid") {
      quarantine.uuid = value;
    } else if (field == "reason") {
      quarantine.reason = value;
    } else if (field == "action") {
      quarantine.action = value;
    } else if (field == "xid") {
      good = read_number(value, quarantine.xid);
    } else if (field == "pid") {
      good = read_number(value, quarantine.finder.pid);
    } else if (field == "uid") {
      good = read_number(value, quarantine.finder.uid);
    } else if (field == "user") {
      quarantine.finder.user = value;
    } else if (field == "app") {
      quarantine.finder.app = value;
    } else if (field == "since_ns") {
      good = read_number(value, quarantine.finder.since_ns);
    } else if (field == "found_now") {
      quarantine.found_now = value;
    } else if (field == "boot") {
      record.boot = value;
    } else if (field == "probed_ns") {
      good = read_number(value, record.probed_ns);
    } else if (field == "faults") {
      good = read_number(value, record.faults);
    } else if (field == "memory_bytes") {
      good = read_number(value, record.memory_bytes);
    }
    if (!good) return std::nullopt;
  }
}

sys::TimePoint next_probe(const QuarantineRecord& record,
                          const std::vector<std::chrono::milliseconds>& pauses,
                          std::string_view boot, sys::TimePoint now) {
  const sys::TimePoint probed{nanoseconds(record.probed_ns)};
  if (pauses.empty() || record.boot != boot || probed > now) return now;
  const std::size_t last = pauses.size() - 1;
  const std::size_t step = record.faults == 0 ? 0 : record.faults - std::size_t{1};
  return probed + pauses[std::min(step, last)];
}

std::string what_is_left(const DeviceHealth& health, std::uint64_t baseline_bytes) {
  if (health.processes && !health.processes->empty()) {
    std::string text;
    for (const auto& process : *health.processes) {
      text += text.empty() ? "" : ", ";
      text += "pid ";
      text += std::to_string(process.pid);
      if (!process.command.empty()) text += " (" + process.command + ")";
      if (!process.user.empty()) text += " of " + process.user;
    }
    return text;
  }
  const bool known = baseline_bytes != 0 && !health.draws && health.processes.has_value();
  if (!known || health.memory_used_bytes <= baseline_bytes + kMemoryNoise) return "";
  return std::to_string((health.memory_used_bytes - baseline_bytes) >> 20) +
         " MiB of its memory that no process accounts for";
}

const std::string& boot_id() {
  static const std::string id = [] {
    std::ifstream file("/proc/sys/kernel/random/boot_id");
    std::string line;
    std::getline(file, line);
    return line;
  }();
  return id;
}

}  // namespace ionian
