#include "blas/algorithm_store.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/syscall.hpp"
#include "ionian/error.hpp"
#include "ionian/log.hpp"

namespace ionian::blas {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFirstLine = "ionian matmul algorithms 1";
constexpr std::size_t kMostLines = 10'000;

}  // namespace

AlgorithmStore::AlgorithmStore(std::string path) : path_(std::move(path)), table_(read(path_)) {}

std::string AlgorithmStore::default_path(const std::string& name) {
  std::string safe;
  for (const char c : name) safe += std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '-';
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && *cache == '/') return std::string(cache) + "/ionian/" + safe;
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home != '/') return "";
  return std::string(home) + "/.cache/ionian/" + safe;
}

AlgorithmStore::Table AlgorithmStore::read(const std::string& path) {
  Table table;
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line) || line != kFirstLine) return table;
  while (table.size() < kMostLines && std::getline(file, line)) {
    std::istringstream words(line);
    std::string problem;
    cublaslt::Algo algo{};
    words >> problem >> std::hex;
    for (auto& word : algo.data) words >> word;
    std::string rest;
    if (words && !(words >> rest)) table[problem] = algo;  // a torn line says nothing
  }
  return table;
}

std::optional<cublaslt::Algo> AlgorithmStore::find(const std::string& problem) const {
  const std::lock_guard lock(mutex_);
  const auto found = table_.find(problem);
  return found == table_.end() ? std::nullopt : std::optional(found->second);
}

void AlgorithmStore::add(const std::string& problem, const cublaslt::Algo& algo) {
  const std::lock_guard lock(mutex_);
  table_[problem] = algo;
  if (path_.empty()) return;
  table_.merge(read(path_));
  try {
    write();
  } catch (const std::exception& error) {
    log(LogLevel::kWarning,
        "measured matmul algorithms are not kept: " + path_ + ": " + error.what());
  }
}

void AlgorithmStore::write() const {
  fs::create_directories(fs::path(path_).parent_path());
  std::string text(kFirstLine);
  for (const auto& [problem, algo] : table_) {
    text += "\n" + problem;
    for (const std::uint64_t word : algo.data) {
      std::array<char, 20> hex{};
      std::snprintf(hex.data(), hex.size(), " %" PRIx64, word);
      text += hex.data();
    }
  }
  text += "\n";
  const std::string draft = path_ + "." + std::to_string(::getpid());
  {
    const UniqueFd file = sys::open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
    sys::write_all(file.get(), std::as_bytes(std::span(text)));
  }
  fs::rename(draft, path_);
}

}  // namespace ionian::blas
