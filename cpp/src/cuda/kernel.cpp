#include "cuda/kernel.hpp"

#include <type_traits>

#include "base/dynamic_library.hpp"
#include "cuda/device.hpp"

extern "C" {
struct _nvrtcProgram;  // NOLINT: the library's name
}

namespace ionian::cuda {
namespace {

using Program = _nvrtcProgram*;

/// The calls of NVRTC, by their own names; enumerations are ints.
struct Nvrtc {
  int (*nvrtcCreateProgram)(Program*, const char*, const char*, int, const char* const*,
                            const char* const*);
  int (*nvrtcDestroyProgram)(Program*);
  int (*nvrtcCompileProgram)(Program, int, const char* const*);
  int (*nvrtcGetCUBINSize)(Program, std::size_t*);
  int (*nvrtcGetCUBIN)(Program, char*);
  int (*nvrtcGetProgramLogSize)(Program, std::size_t*);
  int (*nvrtcGetProgramLog)(Program, char*);
  const char* (*nvrtcGetErrorString)(int);
};

struct Loaded {
  Nvrtc api{};
  std::string reason;
};

Loaded load() {
  Loaded loaded;
  const auto library =
      DynamicLibrary::open("IONIAN_NVRTC_LIBRARY", {"libnvrtc.so.13", "libnvrtc.so.12",
                                                    "/usr/local/cuda/lib64/libnvrtc.so.13",
                                                    "/usr/local/cuda/lib64/libnvrtc.so.12"});
  if (!library) {
    loaded.reason = library.reason();
    return loaded;
  }
  const auto fill = [&](auto*& function, const char* name) {
    function = library.function<std::remove_reference_t<decltype(*function)>>(name);
    if (function == nullptr && loaded.reason.empty())
      loaded.reason = library.path() + " has no " + name;
  };
#define IONIAN_FILL(name) fill(loaded.api.name, #name)
  IONIAN_FILL(nvrtcCreateProgram);
  IONIAN_FILL(nvrtcDestroyProgram);
  IONIAN_FILL(nvrtcCompileProgram);
  IONIAN_FILL(nvrtcGetCUBINSize);
  IONIAN_FILL(nvrtcGetCUBIN);
  IONIAN_FILL(nvrtcGetProgramLogSize);
  IONIAN_FILL(nvrtcGetProgramLog);
  IONIAN_FILL(nvrtcGetErrorString);
#undef IONIAN_FILL
  return loaded;
}

const Loaded& loaded() {
  static const Loaded once = load();
  return once;
}

const Nvrtc& nvrtc() {
  if (nvrtc_reason().empty()) return loaded().api;
  throw NotFoundError("[cuda] no NVRTC, which compiles this kernel: " + nvrtc_reason() +
                      "\nnext: pip install nvidia-cuda-nvrtc, or set IONIAN_NVRTC_LIBRARY to its "
                      "file");
}

/// Owns a program.
struct ProgramOwner {
  Program handle = nullptr;
  ProgramOwner() = default;
  ProgramOwner(const ProgramOwner&) = delete;
  ProgramOwner& operator=(const ProgramOwner&) = delete;
  ~ProgramOwner() {
    if (handle != nullptr) loaded().api.nvrtcDestroyProgram(&handle);
  }
};

}  // namespace

const std::string& nvrtc_reason() { return loaded().reason; }

std::string compile(const char* source, const char* name, int major, int minor) {
  const Nvrtc& api = nvrtc();
  ProgramOwner program;
  const auto check_nvrtc = [&](int result) {
    if (result == kSuccess) return;
    std::string log;
    std::size_t size = 0;
    if (program.handle != nullptr && api.nvrtcGetProgramLogSize(program.handle, &size) == 0 &&
        size > 1) {
      log.resize(size);
      api.nvrtcGetProgramLog(program.handle, log.data());
    }
    throw CudaError("[cuda] compile " + std::string(name) + " for compute capability " +
                        std::to_string(major) + "." + std::to_string(minor) + ": " +
                        api.nvrtcGetErrorString(result) + (log.empty() ? "" : "\n" + log),
                    result);
  };
  check_nvrtc(api.nvrtcCreateProgram(&program.handle, source, name, 0, nullptr, nullptr));
  const std::string target =
      "--gpu-architecture=sm_" + std::to_string(major) + std::to_string(minor);
  const char* options[] = {target.c_str(), "--std=c++17"};  // NOLINT: NVRTC's own form
  check_nvrtc(api.nvrtcCompileProgram(program.handle, 2, options));
  std::size_t size = 0;
  check_nvrtc(api.nvrtcGetCUBINSize(program.handle, &size));
  std::string code(size, '\0');
  check_nvrtc(api.nvrtcGetCUBIN(program.handle, code.data()));
  return code;
}

Function load_kernel(const char* source, const char* name, int device) {
  const Driver& cuda = driver();
  int handle = 0;
  int major = 0;
  int minor = 0;
  check(cuda.cuDeviceGet(&handle, device), "find the GPU");
  check(cuda.cuDeviceGetAttribute(&major, kComputeMajor, handle), "ask for its capability");
  check(cuda.cuDeviceGetAttribute(&minor, kComputeMinor, handle), "ask for its capability");
  const std::string code = compile(source, name, major, minor);
  const CaptureGuard relaxed;
  Module module = nullptr;
  Function function = nullptr;
  check(cuda.cuModuleLoadData(&module, code.data()), "load a kernel");
  check(cuda.cuModuleGetFunction(&function, module, name), "find a kernel");
  return function;
}

}  // namespace ionian::cuda
