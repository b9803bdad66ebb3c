// log.hpp: where the core says things. The core never prints; by default messages go nowhere.
#pragma once

#include <functional>
#include <string>

namespace ionian {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

using LogSink = std::function<void(LogLevel, const std::string&)>;

/// Replaces the process's sink; an empty function silences it. Thread-safe. The sink may be called
/// from any thread and must not call back into ionian.
void set_log_sink(LogSink sink);

/// Sends `message` to the sink. Thread-safe; swallows whatever the sink throws.
void log(LogLevel level, const std::string& message) noexcept;

}  // namespace ionian
