// fake_cuda.cpp: a libcuda.so with one GPU, whose context breaks when it is told to.
//
// Only the calls that tell whether a context is broken are here. `fake_cuda_break(700)` makes every
// call in the context fail with that code, as an illegal address does. Ask for the context with
// cuDevicePrimaryCtxRetain, as the CUDA runtime does.

namespace {

constexpr int kNotInitialised = 3;
constexpr int kInvalidDevice = 101;

int context;
bool initialised = false;
int retained = 0;
int sticky = 0;
void* current = nullptr;

}  // namespace

// NOLINTBEGIN(readability-identifier-naming): these are names of CUDA
extern "C" {

void fake_cuda_break(int code) { sticky = code; }
int fake_cuda_retained() { return retained; }

int cuInit(unsigned) {
  initialised = true;
  return 0;
}

int cuDeviceGetCount(int* count) {
  *count = 1;
  return initialised ? 0 : kNotInitialised;
}

int cuDeviceGet(int* device, int ordinal) {
  *device = ordinal;
  return ordinal == 0 ? 0 : kInvalidDevice;
}

int cuDevicePrimaryCtxGetState(int, unsigned* flags, int* active) {
  *flags = 0;
  *active = retained > 0 ? 1 : 0;
  return 0;
}

int cuDevicePrimaryCtxRetain(void** out, int) {
  ++retained;
  *out = &context;
  return 0;
}

int cuDevicePrimaryCtxRelease_v2(int) {
  --retained;
  return 0;
}

int cuCtxGetCurrent(void** out) {
  *out = current;
  return 0;
}

int cuCtxSetCurrent(void* wanted) {
  current = wanted;
  return 0;
}

int cuStreamQuery(void*) { return sticky; }

int cuGetErrorName(int code, const char** name) {
  *name = code == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : nullptr;
  return 0;
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming)
