// nvml_device.hpp: one GPU, or each of its slices, as NVML describes it.
#pragma once

#include <string>
#include <vector>

#include "gpu/nvml_api.hpp"
#include "ionian/device.hpp"

namespace ionian::nvml {

/// A device and the handle that calls about it take. `gpu` is the handle of the whole GPU where the
/// device is a slice, else the same handle.
struct Found {
  Handle handle = nullptr;
  Handle gpu = nullptr;
  Device device;
};

/// Returns the GPU behind `handle`, or its slices if it is cut into some. A call that fails leaves
/// its field unknown; one that fails because the GPU is lost or needs a reset also sets `trouble`.
/// Empty if the GPU will not even say its UUID: then `reason` says why.
std::vector<Found> read_devices(const Api& api, Handle handle, std::string& reason);

/// Returns what is wrong with a GPU when a call about it returned `code`, and what to do; "" if
/// that does not make it unusable.
std::string trouble_of(const Api& api, Return code);

/// Adds the compute processes to `found`. Returns kSuccess, or why the driver does not list them.
Return read_processes(const Api& api, Found& found);

}  // namespace ionian::nvml
