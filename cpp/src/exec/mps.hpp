// mps.hpp: NVIDIA's Multi-Process Service for one run, so that ranks on slices of a GPU run at the
// same time instead of in turn.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ionian/fd.hpp"

namespace ionian {

/// Owns a control daemon and its directory; the destructor ends both, and the server that the
/// daemon started. All go too when this process is killed: the daemon at once, the directory when
/// the next one is made.
class Mps {
 public:
  /// Starts a daemon for `run`; nullptr where there is no control program, where IONIAN_MPS=0, or
  /// where it does not start (then a log line says why).
  static std::unique_ptr<Mps> start(const std::string& run);
  ~Mps();
  Mps(const Mps&) = delete;
  Mps& operator=(const Mps&) = delete;

  /// Returns the variables that make a program its client, as "NAME=value".
  [[nodiscard]] std::vector<std::string> environment() const;

 private:
  Mps(std::string directory, UniqueFd lock)
      : directory_(std::move(directory)), lock_(std::move(lock)) {}

  std::string directory_;
  UniqueFd lock_;    // held: the directory is in use
  UniqueFd daemon_;  // pidfd
};

}  // namespace ionian
