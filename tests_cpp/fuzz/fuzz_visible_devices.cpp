// CUDA_VISIBLE_DEVICES against a model of CUDA's rules written apart from the code.
#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <set>
#include <string>
#include <vector>

#include "fuzz/fuzz.hpp"
#include "gpu/visible_devices.hpp"

namespace {

using ionian::Device;
using ionian::fuzz::require;

const ionian::Inventory& machine() {
  static const ionian::Inventory inventory = [] {
    ionian::Inventory made;
    for (const char* uuid :
         {"GPU-aa000000-0000-0000-0000-000000000000", "GPU-aa100000-0000-0000-0000-000000000000",
          "GPU-bb000000-0000-0000-0000-000000000000", "GPU-cc000000-0000-0000-0000-000000000000",
          "MIG-dd000000-0000-0000-0000-000000000000", "MIG-ee000000-0000-0000-0000-000000000000",
          "GPU-ff000000-0000-0000-0000-000000000000", "GPU-ff000000-0000-0000-0000-000000000001",
          "GPU-01000000-0000-0000-0000-000000000000", "GPU-02000000-0000-0000-0000-000000000000",
          "GPU-03000000-0000-0000-0000-000000000000", "GPU-04000000-0000-0000-0000-000000000000"}) {
      Device device;
      device.uuid = uuid;
      device.index = static_cast<int>(made.devices.size());
      made.devices.push_back(device);
    }
    made.topology = ionian::Topology(made.devices.size());
    return made;
  }();
  return inventory;
}

/// A number as the C library reads it. A minus sign names nothing.
long number(const std::string& entry) {
  errno = 0;
  char* end = nullptr;
  const unsigned long value = std::strtoul(entry.c_str(), &end, 10);
  const std::string read(entry.c_str(), static_cast<const char*>(end));
  if (read.empty() || read.find('-') != std::string::npos || errno == ERANGE) return -1;
  return value < machine().devices.size() ? static_cast<long>(value) : -1;
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

long beginning(const std::string& entry) {
  std::vector<long> fits;
  for (std::size_t i = 0; i < machine().devices.size(); ++i) {
    if (lower(machine().devices[i].uuid.substr(0, entry.size())) == lower(entry))
      fits.push_back(static_cast<long>(i));
  }
  return fits.size() == 1 && entry.size() > 4 ? fits.front() : -1;
}

std::vector<std::size_t> model(const std::string& mask) {
  std::vector<std::string> entries(1);
  for (const char c : mask) {
    if (c == ',') {
      entries.emplace_back();
    } else {
      entries.back() += c;
    }
  }
  const auto kind = [](const std::string& text) {
    return text.rfind("GPU-", 0) == 0 ? 'g' : text.rfind("MIG-", 0) == 0 ? 'm' : 'n';
  };
  std::vector<std::size_t> visible;
  for (const std::string& entry : entries) {
    if (kind(mask) != 'n' && kind(entry) != kind(mask)) break;
    const long position = kind(mask) == 'n' ? number(entry) : beginning(entry);
    if (position < 0) break;
    visible.push_back(static_cast<std::size_t>(position));
  }
  return std::set(visible.begin(), visible.end()).size() == visible.size()
             ? visible
             : std::vector<std::size_t>();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string mask(ionian::fuzz::as_text(data, size));
  const auto visible = ionian::visible_positions(mask, machine().devices);
  const auto commas = static_cast<std::size_t>(std::count(mask.begin(), mask.end(), ','));
  require(visible.size() <= commas + 1, "never more devices than the mask names");
  require(visible == model(mask), "what is visible is what CUDA's rules say");
  const auto narrowed = ionian::narrow(machine(), visible);
  require(narrowed.devices.size() == visible.size(), "narrowing keeps each visible device");
  for (std::size_t i = 0; i < visible.size(); ++i) {
    require(narrowed.devices[i].uuid == machine().devices[visible[i]].uuid, "and its order");
  }
  static_cast<void>(ionian::is_ambiguous(mask, machine().devices));
  return 0;
}
