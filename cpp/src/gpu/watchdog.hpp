// watchdog.hpp: calls into the driver, which may never return.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace ionian {

/// Runs `work` in a thread of its own and waits for it no longer than `timeout`. Returns "" once it
/// has run, else why it has not. Work that does not return is left behind: its thread goes on, and
/// until it ends every further call returns at once. One piece of work runs at a time; others wait
/// their turn within their timeout. So `work` must own what it touches; what it throws becomes the
/// reason. Thread-safe, and usable in a child forked while another thread was inside.
std::string run_watched(std::function<void()> work, std::chrono::milliseconds timeout);

/// Runs `read`, which returns a Result, under the watchdog. Returns its result, or `fallback`
/// called with the reason.
template <class Result, class Read, class Fallback>
Result watched(Read read, std::chrono::milliseconds timeout, Fallback fallback) {
  const auto result = std::make_shared<Result>();
  const std::string reason =
      run_watched([result, read = std::move(read)] { *result = read(); }, timeout);
  return reason.empty() ? std::move(*result) : fallback(reason);
}

}  // namespace ionian
