#include "gpu/process_info.hpp"

#include <pwd.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <vector>

#include "gpu/text.hpp"

namespace ionian {
namespace {

namespace fs = std::filesystem;

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// Returns the value of `name` in a process's environment, "" if it is not there or not for us.
std::string variable(const std::string& path, const std::string& name) {
  std::ifstream file(path, std::ios::binary);
  std::string entry;
  while (std::getline(file, entry, '\0')) {
    if (entry.starts_with(name + "=")) return entry.substr(name.size() + 1);
  }
  return "";
}

/// Returns the user's name, or the number where it has none.
std::string user_name(uid_t uid) {
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 4096> buffer{};
  ::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found);
  return found != nullptr ? found->pw_name : std::to_string(uid);
}

/// Returns whether we are in the PID namespace that the machine started with, whose inode is fixed
/// (PROC_PID_INIT_INO in the kernel).
bool in_first_namespace(const std::string& root) {
  std::error_code error;
  return fs::read_symlink(root + "/self/ns/pid", error) == "pid:[4026531836]";
}

bool has_gpu_open(const std::string& directory) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory + "/fd", error)) {
    std::error_code unreadable;
    const fs::path target = fs::read_symlink(entry.path(), unreadable);
    if (target.string().rfind("/dev/nvidia", 0) == 0) return true;
  }
  return false;
}

}  // namespace

DeviceProcess describe_process(std::int64_t pid, std::uint64_t memory_bytes,
                               const std::string& root) {
  DeviceProcess process{pid, memory_bytes, "", "", ""};
  const std::string directory = root + "/" + std::to_string(pid);
  struct stat status {};
  if (pid <= 0 || ::stat(directory.c_str(), &status) != 0) return process;
  if (!in_first_namespace(root) && !has_gpu_open(directory)) return process;
  process.user = user_name(status.st_uid);
  process.command = first_line(directory + "/comm");
  process.run = variable(directory + "/environ", "IONIAN_RUN");
  return process;
}

int pci_numa_node(const std::string& pci_bus_id, const std::string& root) {
  // NVML writes eight digits for the domain, sysfs four.
  const std::size_t colon = pci_bus_id.find(':');
  if (colon == std::string::npos || colon < 4) return -1;
  const std::string name = text::lower(pci_bus_id.substr(colon - 4));
  const bool is_address = std::all_of(
      name.begin(), name.end(), [](char c) { return text::is_hex(c) || c == ':' || c == '.'; });
  if (!is_address) return -1;
  std::ifstream file(root + "/bus/pci/devices/" + name + "/numa_node");
  int node = -1;
  return file >> node ? node : -1;
}

}  // namespace ionian
