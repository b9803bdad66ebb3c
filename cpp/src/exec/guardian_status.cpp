// What `ionian ps` reads: a memfd of ours that processes of the same user find among our
// descriptors. It has no name in any directory, and ends with us.
#include <sys/mman.h>
#include <unistd.h>

#include "exec/guardian.hpp"
#include "ionian/log.hpp"

namespace ionian {
namespace {

constexpr const char* kStatusName = "ionian-run";

std::string on_one_line(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  return text;
}

}  // namespace

void Guardian::write_status() {
  status_changed_ = false;
  if (hello_.run.empty()) return;
  if (!status_) status_ = UniqueFd(::memfd_create(kStatusName, MFD_CLOEXEC));
  static constexpr const char* phases[] = {"waiting", "draining", "starting", "running", "ended"};
  std::string text = "ionian-run 1\nrun " + hello_.run + "\napp " + on_one_line(hello_.app) +
                     "\nclient " + std::to_string(hello_.caller_pid) + "\n";
  for (const auto& [id, worker] : workers_) {
    std::string gpus;
    for (const auto& device : worker.lease.devices())
      gpus += (gpus.empty() ? "" : ",") + device.uuid;
    text += "worker " + std::to_string(id) + " " + std::to_string(worker.pid) + " " +
            phases[static_cast<std::size_t>(worker.phase)] + " " + (gpus.empty() ? "-" : gpus) +
            " " + on_one_line(worker.order.function) + "\n";
  }
  text += "end\n";  // whoever reads while we write misses it, and reads again
  if (::pwrite(status_.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()) ||
      ::ftruncate(status_.get(), static_cast<off_t>(text.size())) != 0) {
    log(LogLevel::kWarning, "`ionian ps` cannot show this run: no memory for its status");
  }
}

}  // namespace ionian
