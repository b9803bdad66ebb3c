// Compares our declarations of cuBLASLt with the real header where there is one.
#include <gtest/gtest.h>

#include <type_traits>

#include "blas/cublaslt_api.hpp"

#if __has_include(<cublasLt.h>)
#include <cublasLt.h>

namespace ionian::cublaslt {
namespace {

template <class A, class B>
constexpr bool kAlike = sizeof(A) == sizeof(B) && std::is_pointer_v<A> == std::is_pointer_v<B>;
template <class Ours, class Theirs>
struct SameCall : std::false_type {};
template <class R, class... Ours, class S, class... Theirs>
struct SameCall<R (*)(Ours...), S(Theirs...)> {
  static constexpr bool value = [] {
    if constexpr (sizeof...(Ours) != sizeof...(Theirs)) {
      return false;
    } else {
      return kAlike<R, S> && (kAlike<Ours, Theirs> && ...);
    }
  }();
};

#define SAME(name) static_assert(SameCall<decltype(Api::name), decltype(::name)>::value, #name)
SAME(cublasLtCreate);
SAME(cublasLtGetVersion);
SAME(cublasLtGetStatusName);
SAME(cublasLtMatmul);
SAME(cublasLtMatmulDescCreate);
SAME(cublasLtMatmulDescDestroy);
SAME(cublasLtMatmulDescSetAttribute);
SAME(cublasLtMatrixLayoutCreate);
SAME(cublasLtMatrixLayoutDestroy);
SAME(cublasLtMatrixLayoutSetAttribute);
SAME(cublasLtMatmulPreferenceCreate);
SAME(cublasLtMatmulPreferenceDestroy);
SAME(cublasLtMatmulPreferenceSetAttribute);
SAME(cublasLtMatmulAlgoGetHeuristic);
SAME(cublasLtMatmulAlgoCheck);
#undef SAME

static_assert(sizeof(Algo) == sizeof(cublasLtMatmulAlgo_t));
static_assert(sizeof(HeuristicResult) == sizeof(cublasLtMatmulHeuristicResult_t));
static_assert(offsetof(HeuristicResult, workspace_size) ==
              offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
static_assert(offsetof(HeuristicResult, state) == offsetof(cublasLtMatmulHeuristicResult_t, state));
static_assert(kSuccess == CUBLAS_STATUS_SUCCESS && kNotSupported == CUBLAS_STATUS_NOT_SUPPORTED);
static_assert(kR32F == CUDA_R_32F && kR64F == CUDA_R_64F && kR16F == CUDA_R_16F);
static_assert(kR8I == CUDA_R_8I && kR32I == CUDA_R_32I && kR16BF == CUDA_R_16BF);
static_assert(kR8FE4M3 == CUDA_R_8F_E4M3 && kR8FE5M2 == CUDA_R_8F_E5M2);
static_assert(kCompute32F == CUBLAS_COMPUTE_32F && kCompute64F == CUBLAS_COMPUTE_64F);
static_assert(kCompute32I == CUBLAS_COMPUTE_32I);
static_assert(kCompute32FFastTF32 == CUBLAS_COMPUTE_32F_FAST_TF32);
static_assert(kDescTransA == CUBLASLT_MATMUL_DESC_TRANSA);
static_assert(kDescTransB == CUBLASLT_MATMUL_DESC_TRANSB);
static_assert(kDescEpilogue == CUBLASLT_MATMUL_DESC_EPILOGUE);
static_assert(kDescBiasPointer == CUBLASLT_MATMUL_DESC_BIAS_POINTER);
static_assert(kDescAScalePointer == CUBLASLT_MATMUL_DESC_A_SCALE_POINTER);
static_assert(kDescBScalePointer == CUBLASLT_MATMUL_DESC_B_SCALE_POINTER);
static_assert(kDescBiasDataType == CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE);
static_assert(kOpT == CUBLAS_OP_T);
static_assert(kEpilogueDefault == CUBLASLT_EPILOGUE_DEFAULT);
static_assert(kEpilogueRelu == CUBLASLT_EPILOGUE_RELU);
static_assert(kEpilogueBias == CUBLASLT_EPILOGUE_BIAS);
static_assert(kEpilogueGelu == CUBLASLT_EPILOGUE_GELU);
static_assert(kLayoutBatchCount == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT);
static_assert(kLayoutBatchOffset == CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET);
static_assert(kPrefMaxWorkspace == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
static_assert(kPrefAlignmentA == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
static_assert(kPrefAlignmentA + 3 == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);

TEST(CublasLtHeader, AgreesWithOurDeclarations) { SUCCEED() << "checked when this was compiled"; }

}  // namespace
}  // namespace ionian::cublaslt
#else
TEST(CublasLtHeader, AgreesWithOurDeclarations) {
  GTEST_SKIP() << "cublasLt.h is not installed here";
}
#endif
