// algorithm_store.hpp: measured algorithms, kept from one process to the next: a small text file
// for each version of cuBLASLt and model of GPU.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "blas/cublaslt_api.hpp"

namespace ionian::blas {

/// Thread-safe. Keeps nothing where `path` is "". A file that cannot be read is as good as none,
/// one that cannot be written costs a log line: speed is at stake, never a result.
class AlgorithmStore {
 public:
  explicit AlgorithmStore(std::string path);
  [[nodiscard]] std::optional<cublaslt::Algo> find(const std::string& problem) const;
  /// Adds it, and replaces the file, with what other processes added since, at one stroke.
  void add(const std::string& problem, const cublaslt::Algo& algo);

  /// Returns $XDG_CACHE_HOME/ionian/<name>, else ~/.cache/ionian/<name>, "" if there is no home.
  static std::string default_path(const std::string& name);

 private:
  using Table = std::map<std::string, cublaslt::Algo>;
  static Table read(const std::string& path);
  void write() const;

  const std::string path_;
  mutable std::mutex mutex_;
  Table table_;
};

}  // namespace ionian::blas
