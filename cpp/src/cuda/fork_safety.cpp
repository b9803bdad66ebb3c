#include "cuda/fork_safety.hpp"

#include <dirent.h>
#include <dlfcn.h>
#include <unistd.h>

#include <array>
#include <string_view>

namespace ionian::cuda {
namespace {

constexpr int kNotInitialised = 3;  // CUDA_ERROR_NOT_INITIALIZED, CUDA driver API

std::string open_device_file() {
  DIR* directory = ::opendir("/proc/self/fd");
  if (directory == nullptr) return "";
  std::string found;
  while (const dirent* entry = ::readdir(directory)) {
    std::array<char, 256> target{};
    const std::string path = std::string("/proc/self/fd/") + entry->d_name;
    const ssize_t size = ::readlink(path.c_str(), target.data(), target.size() - 1);
    const std::string_view name(target.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
    if (name.starts_with("/dev/nvidia")) found = name;
  }
  ::closedir(directory);
  return found;
}

}  // namespace

std::string initialised() {
  void* driver = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  if (driver != nullptr) {
    auto* count = reinterpret_cast<int (*)(int*)>(::dlsym(driver, "cuDeviceGetCount"));
    int devices = 0;
    const int result = count == nullptr ? kNotInitialised : count(&devices);
    ::dlclose(driver);
    if (result != kNotInitialised) return "CUDA was initialised (cuInit was called)";
  }
  const std::string file = open_device_file();
  return file.empty() ? "" : "the GPU was opened (" + file + ")";
}

}  // namespace ionian::cuda
