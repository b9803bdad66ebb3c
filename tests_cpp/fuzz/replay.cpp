// Runs a fuzz target over committed inputs, and over every beginning of each short one, so that the
// corpus is a test for any compiler. Usage: replay_<name> DIRECTORY...
#include <algorithm>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <unistd.h>

#include "fuzz/fuzz.hpp"

namespace {

constexpr std::size_t kShort = 256;

std::string current;  // the file that runs now, for the handler

extern "C" void say_which(int) {
  const char before[] = "replay: failed on a beginning of ";
  [[maybe_unused]] ssize_t written = ::write(STDERR_FILENO, before, sizeof(before) - 1);
  written = ::write(STDERR_FILENO, current.data(), current.size());
  written = ::write(STDERR_FILENO, "\n", 1);
  std::signal(SIGABRT, SIG_DFL);
}

void run(const std::string& bytes, std::size_t size) {
  // A copy of exactly this size: a read behind the end is then seen by the address sanitizer.
  const std::vector<std::uint8_t> exact(bytes.begin(),
                                        bytes.begin() + static_cast<std::ptrdiff_t>(size));
  static_cast<void>(LLVMFuzzerTestOneInput(exact.data(), exact.size()));
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGABRT, say_which);
  std::vector<std::filesystem::path> files;
  for (int i = 1; i < argc; ++i) {
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  if (files.empty()) {
    std::fputs("replay: no inputs; give the directories of a corpus\n", stderr);
    return 2;
  }
  std::size_t runs = 0;
  for (const auto& path : files) {
    current = path.string();
    std::ifstream file(path, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    for (std::size_t size = bytes.size() <= kShort ? 0 : bytes.size(); size <= bytes.size();
         ++size) {
      run(bytes, size);
      ++runs;
    }
  }
  std::printf("replay: %zu inputs, %zu runs\n", files.size(), runs);
  return 0;
}
