#include "blas/activation.hpp"

#include <gtest/gtest.h>

#include "cuda/kernel.hpp"

namespace ionian::blas {
namespace {

// NVRTC compiles on a machine without a GPU too.
TEST(Activation, TheKernelsCompileForEveryGenerationFromTuringOn) {
  if (!cuda::nvrtc_reason().empty()) GTEST_SKIP() << cuda::nvrtc_reason();
  for (const auto& [major, minor] : {std::pair{7, 5}, {8, 0}, {8, 6}, {8, 9}, {9, 0}}) {
    const std::string code = cuda::compile(silu_source(), "silu", major, minor);
    for (const char* name : {"silu_float64", "silu_float32", "silu_float16", "silu_bfloat16"})
      EXPECT_NE(code.find(name), std::string::npos) << name;
  }
}

TEST(Activation, WhatDoesNotCompileSaysWhereAndWhy) {
  if (!cuda::nvrtc_reason().empty()) GTEST_SKIP() << cuda::nvrtc_reason();
  try {
    cuda::compile("__global__ void broken() { nonsense(); }", "broken", 8, 0);
    FAIL() << "it compiled";
  } catch (const CudaError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("compile broken for compute capability 8.0"), std::string::npos) << text;
    EXPECT_NE(text.find("nonsense"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace ionian::blas
