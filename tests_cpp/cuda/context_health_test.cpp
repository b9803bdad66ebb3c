// Is CUDA lost to this process? Asked of a driver that breaks when it is told to.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "cuda/context_health.hpp"

namespace ionian::cuda {
namespace {

template <class Function>
Function* function(void* library, const char* name) {
  return reinterpret_cast<Function*>(::dlsym(library, name));
}

TEST(ContextHealth, OnlyAnErrorThatStaysBreaksAContext) {
  ::setenv("IONIAN_CUDA_LIBRARY", FAKE_CUDA_LIBRARY, 1);
  EXPECT_EQ(broken_context(), "");  // nobody has loaded the driver, and it is not loaded for this
  ASSERT_EQ(::dlopen(FAKE_CUDA_LIBRARY, RTLD_NOW | RTLD_NOLOAD), nullptr);
  void* library = ::dlopen(FAKE_CUDA_LIBRARY, RTLD_NOW);
  ASSERT_NE(library, nullptr);
  auto* break_with = function<void(int)>(library, "fake_cuda_break");
  auto* retained = function<int()>(library, "fake_cuda_retained");
  break_with(700);
  EXPECT_EQ(broken_context(), "");  // not initialised
  function<int(unsigned)>(library, "cuInit")(0);
  EXPECT_EQ(broken_context(), "");  // no context
  EXPECT_EQ(retained(), 0);         // and none was made
  void* context = nullptr;
  function<int(void**, int)>(library, "cuDevicePrimaryCtxRetain")(&context, 0);
  EXPECT_EQ(broken_context(), "CUDA_ERROR_ILLEGAL_ADDRESS (700)");
  for (const int sticky : {214, 220, 702, 710, 714, 715, 716, 717, 718, 719, 999}) {
    break_with(sticky);
    EXPECT_EQ(broken_context(), "error (" + std::to_string(sticky) + ")");
  }
  // Success, work under way, and what the program may do to itself.
  for (const int harmless : {0, 600, 3, 4, 201, 709, 900, 906, 908}) {
    break_with(harmless);
    EXPECT_EQ(broken_context(), "") << harmless;
  }
  // The same for a context that is current in this thread, and stays so.
  function<int(void*)>(library, "cuCtxSetCurrent")(context);
  break_with(719);
  EXPECT_EQ(broken_context(), "error (719)");
  void* current = nullptr;
  function<int(void**)>(library, "cuCtxGetCurrent")(&current);
  EXPECT_EQ(current, context);
  EXPECT_EQ(retained(), 1);
  ::unsetenv("IONIAN_CUDA_LIBRARY");
}

}  // namespace
}  // namespace ionian::cuda
