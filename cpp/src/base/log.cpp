#include "ionian/log.hpp"

#include <mutex>
#include <utility>

namespace ionian {
namespace {

struct Sink {
  std::mutex mutex;
  LogSink function;
};

Sink& sink() {
  static auto* const instance =
      new Sink;  // never destroyed: threads may log while the process ends
  return *instance;
}

}  // namespace

void set_log_sink(LogSink function) {
  const std::lock_guard lock(sink().mutex);
  sink().function = std::move(function);
}

void log(LogLevel level, const std::string& message) noexcept {
  try {
    const std::lock_guard lock(sink().mutex);
    if (sink().function) sink().function(level, message);
  } catch (...) {  // NOLINT(bugprone-empty-catch): a log line is never worth an exception
  }
}

}  // namespace ionian
