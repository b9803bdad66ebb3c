// Takes GPUs of this machine for as long as the program runs.
//
//   lease [REQUEST [ALTERNATIVE ...]]        IONIAN_GPUS="A10G:2" simulates GPUs
//
// Parses the request, prints what the machine has, waits for a lease, and holds it until Enter.
#include <chrono>
#include <cstdio>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "ionian/ionian.hpp"

namespace {

void print_inventory(const ionian::Inventory& inventory) {
  for (const auto& device : inventory.devices) {
    std::printf("%d  %-12s %6.1f GB  %s%s\n", device.index, device.type.c_str(),
                static_cast<double>(device.memory_bytes) / (1 << 30), device.uuid.c_str(),
                device.simulated ? "  (simulated)" : "");
  }
  if (!inventory.reason.empty()) std::printf("note: %s\n", inventory.reason.c_str());
}

int run(const std::vector<std::string>& texts) {
  const auto request = ionian::GpuRequest::parse(texts);
  ionian::LeaseBook book(ionian::read_inventory(ionian::InventoryOptions::from_environment()), {});
  print_inventory(book.inventory());
  const auto owner = ionian::this_process_as_owner("lease example", "", "");
  const ionian::Lease lease = book.acquire(request, owner, std::chrono::seconds(60));
  std::printf("leased for %s:\nCUDA_VISIBLE_DEVICES=%s\n", request.to_string().c_str(),
              lease.visible_devices().c_str());
  std::puts("press Enter to give it back");
  std::fflush(stdout);
  std::cin.get();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> texts(argv + 1, argv + argc);
  if (texts.empty()) texts = {"any"};
  try {
    return run(texts);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "lease: %s\n", error.what());
    return 1;
  }
}
