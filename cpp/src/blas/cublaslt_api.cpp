#include "blas/cublaslt_api.hpp"

#include <type_traits>

#include "base/dynamic_library.hpp"

namespace ionian::cublaslt {
namespace {

struct Loaded {
  Api api{};
  std::string reason;
};

Loaded load() {
  Loaded loaded;
  const auto library =
      DynamicLibrary::open("IONIAN_CUBLASLT_LIBRARY", {"libcublasLt.so.13", "libcublasLt.so.12",
                                                       "/usr/local/cuda/lib64/libcublasLt.so.13",
                                                       "/usr/local/cuda/lib64/libcublasLt.so.12"});
  if (!library) {
    loaded.reason = library.reason();
    return loaded;
  }
  Api& api = loaded.api;
  api.path = library.path();
  const auto fill = [&](auto*& function, const char* name) {
    function = library.function<std::remove_reference_t<decltype(*function)>>(name);
    if (function == nullptr && loaded.reason.empty())
      loaded.reason = library.path() + " has no " + name + "; cuBLAS 12 or newer is needed";
  };
#define IONIAN_FILL(name) fill(api.name, #name)
  IONIAN_FILL(cublasLtCreate);
  IONIAN_FILL(cublasLtGetVersion);
  IONIAN_FILL(cublasLtGetStatusName);
  IONIAN_FILL(cublasLtMatmul);
  IONIAN_FILL(cublasLtMatmulDescCreate);
  IONIAN_FILL(cublasLtMatmulDescDestroy);
  IONIAN_FILL(cublasLtMatmulDescSetAttribute);
  IONIAN_FILL(cublasLtMatrixLayoutCreate);
  IONIAN_FILL(cublasLtMatrixLayoutDestroy);
  IONIAN_FILL(cublasLtMatrixLayoutSetAttribute);
  IONIAN_FILL(cublasLtMatmulPreferenceCreate);
  IONIAN_FILL(cublasLtMatmulPreferenceDestroy);
  IONIAN_FILL(cublasLtMatmulPreferenceSetAttribute);
  IONIAN_FILL(cublasLtMatmulAlgoGetHeuristic);
  IONIAN_FILL(cublasLtMatmulAlgoCheck);
#undef IONIAN_FILL
  return loaded;
}

const Loaded& loaded() {
  static const Loaded once = load();
  return once;
}

}  // namespace

const Api* find() { return loaded().reason.empty() ? &loaded().api : nullptr; }

const std::string& reason() { return loaded().reason; }

const Api& api() {
  if (const Api* found = find()) return *found;
  throw NotFoundError("[matmul] no cuBLASLt: " + reason() +
                      "\nnext: pip install nvidia-cublas, or set IONIAN_CUBLASLT_LIBRARY to its "
                      "file");
}

void check(int status, const char* what) {
  if (status == kSuccess) return;
  throw CudaError("[matmul] " + std::string(what) + ": " + api().cublasLtGetStatusName(status),
                  status);
}

}  // namespace ionian::cublaslt
