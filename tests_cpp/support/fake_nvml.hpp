// fake_nvml.hpp: points read_inventory at the fake NVML for as long as the object lives.
//
// The program must be compiled with FAKE_NVML_LIBRARY, the path of the fake library.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace ionian::testing {

class FakeNvml {
 public:
  explicit FakeNvml(const std::string& machine, const char* library = FAKE_NVML_LIBRARY) {
    std::string name = (std::filesystem::temp_directory_path() / "fake_nvml_XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
    say(machine);
    ::setenv("FAKE_NVML", file().c_str(), 1);
    ::setenv("IONIAN_NVML_LIBRARY", library, 1);
  }
  ~FakeNvml() {
    ::unsetenv("FAKE_NVML");
    ::unsetenv("IONIAN_NVML_LIBRARY");
    std::filesystem::remove_all(directory_);
  }
  FakeNvml(const FakeNvml&) = delete;
  FakeNvml& operator=(const FakeNvml&) = delete;

  /// Replaces the machine. Statements are those of fake_nvml.cpp.
  void say(const std::string& machine) const {
    std::ofstream(file() + ".next") << machine;  // a reader sees the old one or the new one
    std::filesystem::rename(file() + ".next", file());
  }
  /// Has the driver report an event, e.g. "GPU-… 79".
  void report(const std::string& event) const {
    std::ofstream(file() + ".events", std::ios::app) << event << "\n";
  }
  /// Lets calls that hang return.
  void release() const { std::ofstream(file() + ".release") << "now"; }

 private:
  [[nodiscard]] std::string file() const { return directory_ + "/machine"; }
  std::string directory_;
};

}  // namespace ionian::testing
