#include "blas/plan.hpp"

#include "ionian/error.hpp"

namespace ionian::blas {
namespace {

using namespace cublaslt;  // NOLINT: its constants only

int cuda_type(DType dtype) {
  switch (dtype) {
    case DType::kFloat64:
      return kR64F;
    case DType::kFloat16:
      return kR16F;
    case DType::kBFloat16:
      return kR16BF;
    case DType::kFloat8E4M3:
      return kR8FE4M3;
    case DType::kFloat8E5M2:
      return kR8FE5M2;
    case DType::kInt8:
      return kR8I;
    case DType::kInt32:
      return kR32I;
    default:
      return kR32F;
  }
}

int compute_type(const Problem& problem) {
  if (problem.a.dtype == DType::kFloat64) return kCompute64F;
  if (problem.a.dtype == DType::kInt8) return kCompute32I;
  return problem.tf32 ? kCompute32FFastTF32 : kCompute32F;
}

int scale_type(const Problem& problem) {
  if (problem.a.dtype == DType::kFloat64) return kR64F;
  return problem.a.dtype == DType::kInt8 ? kR32I : kR32F;
}

std::uint32_t epilogue(const Problem& problem) {
  std::uint32_t flags = problem.has_bias ? kEpilogueBias : 0;
  if (problem.activation == Activation::kRelu) flags |= kEpilogueRelu;
  if (problem.activation == Activation::kGelu) flags |= kEpilogueGelu;
  return flags == 0 ? kEpilogueDefault : flags;
}

/// Returns the layout of a rows × columns matrix, as the columns-first matrix that it is to
/// cuBLASLt: by rows it is read as its transpose.
Layout make_layout(const Matrix& matrix, std::int64_t rows, std::int64_t columns,
                   std::int64_t batch) {
  const Api& lt = api();
  if (!matrix.by_columns) std::swap(rows, columns);
  Layout layout = nullptr;
  check(lt.cublasLtMatrixLayoutCreate(&layout, cuda_type(matrix.dtype),
                                      static_cast<std::uint64_t>(rows),
                                      static_cast<std::uint64_t>(columns), matrix.ld),
        "describe a matrix");
  if (batch != 1) {
    const auto count = static_cast<std::int32_t>(batch);
    check(lt.cublasLtMatrixLayoutSetAttribute(layout, kLayoutBatchCount, &count, sizeof(count)),
          "describe a batch");
    check(lt.cublasLtMatrixLayoutSetAttribute(layout, kLayoutBatchOffset, &matrix.stride,
                                              sizeof(matrix.stride)),
          "describe a batch");
  }
  return layout;
}

std::string shown(const Matrix& matrix) {
  return std::string(to_string(matrix.dtype)) + " by " + (matrix.by_columns ? "columns" : "rows") +
         ", distance " + std::to_string(matrix.ld) + ", aligned to " +
         std::to_string(1 << matrix.alignment) + " bytes";
}

[[noreturn]] void cannot(const Problem& problem, int status) {
  std::string text = "[matmul] cuBLASLt " + std::to_string(api().cublasLtGetVersion()) +
                     " has no algorithm for m=" + std::to_string(problem.m) +
                     ", n=" + std::to_string(problem.n) + ", k=" + std::to_string(problem.k) +
                     " (" + api().cublasLtGetStatusName(status) + ")\na: " + shown(problem.a) +
                     "\nb: " + shown(problem.b) + "\nout: " + shown(problem.out);
  if (size_of(problem.a.dtype) == 1) {
    text +=
        "\nnext: 8-bit types want a by rows and b by columns (pass b as b_rows.T), and m, n, k, "
        "distances and addresses that are multiples of 16; float8 wants a GPU of compute "
        "capability 8.9 or newer";
  }
  throw InvalidError(text);
}

}  // namespace

Plan::Plan(Handle handle, const Problem& problem, const Algo* stored)
    : handle_(handle), problem_(problem) {
  try {
    make_descriptors();
    if (stored != nullptr) {
      HeuristicResult result{};
      const int status =
          api().cublasLtMatmulAlgoCheck(handle_, desc_, a_, b_, c_, d_, stored, &result);
      if (status == kSuccess && result.workspace_size <= kWorkspaceBytes) {
        algo_ = *stored;
        tuned_ = true;
        return;
      }
    }
    algo_ = ask(1).front().algo;
  } catch (...) {
    destroy();
    throw;
  }
}

Plan::~Plan() { destroy(); }

void Plan::destroy() noexcept {
  const Api& lt = *find();
  for (const Layout layout : {a_, b_, c_, d_}) {
    if (layout != nullptr) lt.cublasLtMatrixLayoutDestroy(layout);
  }
  if (desc_ != nullptr) lt.cublasLtMatmulDescDestroy(desc_);
}

void Plan::make_descriptors() {
  const Api& lt = api();
  const auto set = [&](int attribute, const auto& value) {
    check(lt.cublasLtMatmulDescSetAttribute(desc_, attribute, &value, sizeof(value)),
          "describe a product");
  };
  check(lt.cublasLtMatmulDescCreate(&desc_, compute_type(problem_), scale_type(problem_)),
        "describe a product");
  // outᵀ = bᵀ aᵀ, and what lies by rows is its transpose to cuBLASLt already.
  if (problem_.b.by_columns) set(kDescTransA, kOpT);
  if (problem_.a.by_columns) set(kDescTransB, kOpT);
  set(kDescEpilogue, epilogue(problem_));
  if (problem_.has_bias) set(kDescBiasDataType, cuda_type(problem_.bias));
  // The heuristic looks whether pointers are there, never at what they point to.
  const void* some = &desc_;
  if (problem_.has_bias) set(kDescBiasPointer, some);
  if (problem_.has_scale_b) set(kDescAScalePointer, some);
  if (problem_.has_scale_a) set(kDescBScalePointer, some);
  a_ = make_layout(problem_.b, problem_.k, problem_.n, problem_.batch);
  b_ = make_layout(problem_.a, problem_.m, problem_.k, problem_.batch);
  c_ = make_layout(problem_.c, problem_.m, problem_.n, problem_.batch);
  d_ = make_layout(problem_.out, problem_.m, problem_.n, problem_.batch);
}

std::vector<HeuristicResult> Plan::ask(int most) const {
  const Api& lt = api();
  Preference preference = nullptr;
  check(lt.cublasLtMatmulPreferenceCreate(&preference), "ask for algorithms");
  const std::uint64_t workspace = kWorkspaceBytes;
  lt.cublasLtMatmulPreferenceSetAttribute(preference, kPrefMaxWorkspace, &workspace,
                                          sizeof(workspace));
  int attribute = kPrefAlignmentA;
  for (const Matrix* matrix : {&problem_.b, &problem_.a, &problem_.c, &problem_.out}) {
    const std::uint32_t alignment = 1U << matrix->alignment;
    lt.cublasLtMatmulPreferenceSetAttribute(preference, attribute++, &alignment, sizeof(alignment));
  }
  std::vector<HeuristicResult> results(static_cast<std::size_t>(most));
  int found = 0;
  const int status = lt.cublasLtMatmulAlgoGetHeuristic(handle_, desc_, a_, b_, c_, d_, preference,
                                                       most, results.data(), &found);
  lt.cublasLtMatmulPreferenceDestroy(preference);
  if (status != kSuccess || found == 0)
    cannot(problem_, status == kSuccess ? kNotSupported : status);
  results.resize(static_cast<std::size_t>(found));
  std::erase_if(results, [](const HeuristicResult& each) { return each.state != kSuccess; });
  if (results.empty()) cannot(problem_, kNotSupported);
  return results;
}

int Plan::launch(const Algo& algo, const Pointers& at, double alpha, double beta, void* workspace,
                 cuda::StreamHandle stream) {
  const Api& lt = *find();
  const auto set = [&](int attribute, const void* pointer) {
    lt.cublasLtMatmulDescSetAttribute(desc_, attribute, &pointer, sizeof(pointer));
  };
  union Scalar {
    double f64;
    float f32;
    std::int32_t i32;
  };
  Scalar a{};
  Scalar b{};
  if (problem_.a.dtype == DType::kFloat64) {
    a.f64 = alpha;
    b.f64 = beta;
  } else if (problem_.a.dtype == DType::kInt8) {
    a.i32 = static_cast<std::int32_t>(alpha);
    b.i32 = static_cast<std::int32_t>(beta);
  } else {
    a.f32 = static_cast<float>(alpha);
    b.f32 = static_cast<float>(beta);
  }
  if (problem_.has_bias) set(kDescBiasPointer, at.bias);
  if (problem_.has_scale_b) set(kDescAScalePointer, at.scale_b);
  if (problem_.has_scale_a) set(kDescBScalePointer, at.scale_a);
  return lt.cublasLtMatmul(handle_, desc_, &a, at.b, a_, at.a, b_, &b, at.c, c_, at.out, d_, &algo,
                           workspace, kWorkspaceBytes, stream);
}

void Plan::run(const Pointers& at, double alpha, double beta, void* workspace,
               cuda::StreamHandle stream) {
  const std::lock_guard lock(mutex_);
  check(launch(algo_, at, alpha, beta, workspace, stream), "multiply");
}

std::vector<Algo> Plan::candidates(int most) const {
  std::vector<Algo> algos;
  for (const auto& result : ask(most)) algos.push_back(result.algo);
  return algos;
}

bool Plan::try_run(const Algo& algo, const Pointers& at, void* workspace,
                   cuda::StreamHandle stream) {
  const std::lock_guard lock(mutex_);
  return launch(algo, at, 1, 0, workspace, stream) == kSuccess;
}

void Plan::adopt(const Algo& algo) {
  const std::lock_guard lock(mutex_);
  algo_ = algo;
  tuned_ = true;
}

}  // namespace ionian::blas
