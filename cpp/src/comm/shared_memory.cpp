#include "comm/shared_memory.hpp"

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <sstream>

#include "ionian/error.hpp"

namespace ionian::shared_memory {
namespace {

/// What follows the first letter of an id.
struct Name {
  std::int64_t pid;
  std::int32_t fd;
  std::uint8_t key[kKeyBytes];  // NOLINT
};

std::mutex kept_mutex;
std::map<std::string, UniqueFd>& kept() {
  static std::map<std::string, UniqueFd> made;
  return made;
}

Name parse(const std::string& id) {
  Name name{};
  if (id.size() != 1 + sizeof(Name)) {
    throw InvalidError("[communicator] an id of " + std::to_string(id.size()) +
                       " bytes; expected " + std::to_string(1 + sizeof(Name)));
  }
  std::memcpy(&name, id.data() + 1, sizeof(name));
  return name;
}

sys::Mapping open_of(std::int64_t pid, int fd, std::size_t bytes, const char* whose) {
  const std::string path = "/proc/" + std::to_string(pid) + "/fd/" + std::to_string(fd);
  const UniqueFd opened(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!opened) {
    throw ConnectionError(std::string("[communicator] the pages of ") + whose + ", process " +
                          std::to_string(pid) + ", cannot be opened: " + std::strerror(errno) +
                          "\nnext: keep that process alive until all ranks have joined");
  }
  sys::check_sealed(opened.get(), bytes);
  return {opened.get(), bytes};
}

}  // namespace

ProcessId this_process() {
  static const std::uint64_t none = 0;
  ProcessId process{::getpid(), none};
  std::ifstream file("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  // proc(5): the 22nd field; the second, in parentheses, can have spaces.
  std::istringstream rest(text.substr(std::min(text.size(), text.rfind(')') + 1)));
  std::string field;
  for (int i = 3; i <= 22 && rest >> field; ++i) {
    if (i == 22) process.start_time = std::stoull(field);
  }
  return process;
}

bool is_alive(const ProcessId& process) {
  std::ifstream file("/proc/" + std::to_string(process.pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (text.empty()) return false;
  std::istringstream rest(text.substr(std::min(text.size(), text.rfind(')') + 1)));
  std::string state;
  std::string field;
  rest >> state;
  if (state == "Z" || state == "X") return false;
  for (int i = 4; i <= 22 && rest >> field; ++i) {
  }
  return field == std::to_string(process.start_time);
}

std::string make_control() {
  UniqueFd fd = sys::sealed_memory("ionian-communicator", sizeof(Control));
  const sys::Mapping mapping(fd.get(), sizeof(Control));
  auto& control = *reinterpret_cast<Control*>(mapping.data());
  Name name{::getpid(), fd.get(), {}};
  if (::getrandom(name.key, sizeof(name.key), 0) != static_cast<ssize_t>(sizeof(name.key)))
    throw_errno("get random bytes", errno);
  std::memcpy(control.key, name.key, sizeof(name.key));
  control.magic = kMagic;
  std::string id("S");
  id.append(reinterpret_cast<const char*>(&name), sizeof(name));
  const std::lock_guard lock(kept_mutex);
  kept()[id] = std::move(fd);
  return id;
}

sys::Mapping open_control(const std::string& id) {
  const Name name = parse(id);
  sys::Mapping mapping = open_of(name.pid, name.fd, sizeof(Control), "the maker of the id");
  const auto& control = *reinterpret_cast<const Control*>(mapping.data());
  if (control.magic != kMagic || std::memcmp(control.key, name.key, sizeof(name.key)) != 0) {
    throw InvalidError(
        "[communicator] the id names pages that are no longer there\nnext: make a new one for each "
        "communicator");
  }
  return mapping;
}

void forget(const std::string& id) {
  const std::lock_guard lock(kept_mutex);
  kept().erase(id);
}

sys::Mapping open_pages(std::int64_t pid, int fd, std::size_t bytes) {
  return open_of(pid, fd, bytes, "a rank");
}

}  // namespace ionian::shared_memory
