// cublaslt_api.hpp: cuBLASLt, found at run time: the few types and calls that ionian uses. A test
// compares every declaration with cublasLt.h where there is one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "cuda/driver.hpp"

extern "C" {
struct cublasLtContext;
}

namespace ionian::cublaslt {

using Handle = cublasLtContext*;
using Desc = void*;  // cublasLtMatmulDesc_t
using Layout = void*;
using Preference = void*;

struct Algo {  // cublasLtMatmulAlgo_t: may be stored, and used with the same version again
  std::uint64_t data[8];  // NOLINT: cuBLASLt's own
};
struct HeuristicResult {
  Algo algo;
  std::size_t workspace_size;
  int state;
  float waves;
  int reserved[4];  // NOLINT
};

inline constexpr int kSuccess = 0;
inline constexpr int kNotSupported = 15;  // CUBLAS_STATUS_NOT_SUPPORTED

// cudaDataType_t
inline constexpr int kR32F = 0;
inline constexpr int kR64F = 1;
inline constexpr int kR16F = 2;
inline constexpr int kR8I = 3;
inline constexpr int kR32I = 10;
inline constexpr int kR16BF = 14;
inline constexpr int kR8FE4M3 = 28;
inline constexpr int kR8FE5M2 = 29;

// cublasComputeType_t
inline constexpr int kCompute32F = 68;
inline constexpr int kCompute64F = 70;
inline constexpr int kCompute32I = 72;
inline constexpr int kCompute32FFastTF32 = 77;

// cublasLtMatmulDescAttributes_t
inline constexpr int kDescTransA = 3;
inline constexpr int kDescTransB = 4;
inline constexpr int kDescEpilogue = 7;
inline constexpr int kDescBiasPointer = 8;
inline constexpr int kDescAScalePointer = 17;
inline constexpr int kDescBScalePointer = 18;
inline constexpr int kDescBiasDataType = 26;
inline constexpr int kOpT = 1;  // CUBLAS_OP_T

// cublasLtEpilogue_t
inline constexpr std::uint32_t kEpilogueDefault = 1;
inline constexpr std::uint32_t kEpilogueRelu = 2;
inline constexpr std::uint32_t kEpilogueBias = 4;
inline constexpr std::uint32_t kEpilogueGelu = 32;

// cublasLtMatrixLayoutAttribute_t, cublasLtMatmulPreferenceAttributes_t
inline constexpr int kLayoutBatchCount = 5;
inline constexpr int kLayoutBatchOffset = 6;
inline constexpr int kPrefMaxWorkspace = 1;
inline constexpr int kPrefAlignmentA = 5;  // then B, C, D

/// The calls, by their own names. Enumerations are ints.
struct Api {
  int (*cublasLtCreate)(Handle*);
  std::size_t (*cublasLtGetVersion)();
  const char* (*cublasLtGetStatusName)(int);
  int (*cublasLtMatmul)(Handle, Desc, const void*, const void*, Layout, const void*, Layout,
                        const void*, const void*, Layout, void*, Layout, const Algo*, void*,
                        std::size_t, cuda::StreamHandle);
  int (*cublasLtMatmulDescCreate)(Desc*, int, int);
  int (*cublasLtMatmulDescDestroy)(Desc);
  int (*cublasLtMatmulDescSetAttribute)(Desc, int, const void*, std::size_t);
  int (*cublasLtMatrixLayoutCreate)(Layout*, int, std::uint64_t, std::uint64_t, std::int64_t);
  int (*cublasLtMatrixLayoutDestroy)(Layout);
  int (*cublasLtMatrixLayoutSetAttribute)(Layout, int, const void*, std::size_t);
  int (*cublasLtMatmulPreferenceCreate)(Preference*);
  int (*cublasLtMatmulPreferenceDestroy)(Preference);
  int (*cublasLtMatmulPreferenceSetAttribute)(Preference, int, const void*, std::size_t);
  int (*cublasLtMatmulAlgoGetHeuristic)(Handle, Desc, Layout, Layout, Layout, Layout, Preference,
                                        int, HeuristicResult*, int*);
  int (*cublasLtMatmulAlgoCheck)(Handle, Desc, Layout, Layout, Layout, Layout, const Algo*,
                                 HeuristicResult*);

  std::string path;  // of the file that was loaded
};

/// Returns cuBLASLt, nullptr if there is none: `reason()` says why. Looks at
/// IONIAN_CUBLASLT_LIBRARY, then at what the process has loaded already (torch's), then for
/// libcublasLt.so.13 and .12, and in the toolkit. Thread-safe.
const Api* find();
const std::string& reason();
/// Returns cuBLASLt. Throws NotFoundError with the reason.
const Api& api();
/// Throws CudaError unless `status` is success.
void check(int status, const char* what);

}  // namespace ionian::cublaslt
