// nvml_session.hpp: NVML, loaded and started.
#pragma once

#include <string>

#include "base/dynamic_library.hpp"
#include "gpu/nvml_api.hpp"

namespace ionian::nvml {

/// NVML, started; stopped at the end. Nothing stays open between two reads, so that a program that
/// only looks never holds the driver, and a driver that comes back is found.
class Session {
 public:
  Session();
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  [[nodiscard]] explicit operator bool() const { return started_; }
  [[nodiscard]] const Api& api() const { return api_; }
  [[nodiscard]] const std::string& library_path() const { return library_.path(); }
  /// Returns why it did not start, and what to do about it.
  [[nodiscard]] const std::string& reason() const { return reason_; }

 private:
  DynamicLibrary library_;
  Api api_;
  bool started_ = false;
  std::string reason_;
};

}  // namespace ionian::nvml
