#include "gpu/nvml_session.hpp"

namespace ionian::nvml {
namespace {

/// Returns why NVML did not start, and what to do about it.
std::string explain_start(const Api& api, Return code) {
  const std::string text = "NVML does not start: " + error_text(api, code);
  switch (code) {
    case kUnknown:
      return text +
             "; inside a container this is usually `systemctl daemon-reload` on the host, which "
             "takes "
             "the GPUs away from running containers: restart the container, and have its runtime "
             "name the /dev/nvidia* devices or use the cgroupfs driver so that it does not recur";
    case kVersionMismatch:
      return text +
             "; the driver was upgraded while the old kernel module is loaded: reboot, or unload "
             "and "
             "load the nvidia modules (compare /proc/driver/nvidia/version)";
    case kDriverNotLoaded:
      return text + "; load it with `modprobe nvidia`, or see `dmesg` for why it does not load";
    case kNoPermission:
      return text + "; this user may not open /dev/nvidiactl and /dev/nvidia*";
    default:
      return text + "; see whether `nvidia-smi` works";
  }
}

}  // namespace

Session::Session() : library_(DynamicLibrary::open("IONIAN_NVML_LIBRARY", {"libnvidia-ml.so.1"})) {
  if (!library_) {
    reason_ = "no library of the NVIDIA driver: " + library_.reason();
    return;
  }
  std::string missing;
  api_ = Api::load(library_, missing);
  if (!missing.empty()) {
    reason_ =
        library_.path() + " lacks " + missing + ": the driver is too old, or this is not NVML";
    return;
  }
  const Return code = api_.init();
  started_ = code == kSuccess;
  if (!started_) reason_ = explain_start(api_, code);
}

Session::~Session() {
  if (started_) api_.shutdown();
}

}  // namespace ionian::nvml
