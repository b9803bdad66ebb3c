// plan.hpp: a problem as cuBLASLt wants it, with the algorithm that does it. Made once, used often.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "blas/cublaslt_api.hpp"
#include "blas/problem.hpp"

namespace ionian::blas {

inline constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;

/// Owns the descriptors. `run` may be called from several threads.
class Plan {
 public:
  /// Asks the heuristic, or takes `stored` if it is still valid. The GPU's context is current.
  /// Throws InvalidError if cuBLASLt cannot do this.
  Plan(cublaslt::Handle handle, const Problem& problem, const cublaslt::Algo* stored);
  ~Plan();
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  [[nodiscard]] const Problem& problem() const noexcept { return problem_; }
  /// Returns whether its algorithm was measured, now or in an earlier process.
  [[nodiscard]] bool tuned() const noexcept { return tuned_; }
  /// Counts a call; returns how many there were.
  int count() noexcept { return ++calls_; }

  void run(const Pointers& at, double alpha, double beta, void* workspace,
           cuda::StreamHandle stream);

  // For the tuner.
  [[nodiscard]] std::vector<cublaslt::Algo> candidates(int most) const;
  /// Runs with another algorithm. Returns whether cuBLASLt took it.
  bool try_run(const cublaslt::Algo& algo, const Pointers& at, void* workspace,
               cuda::StreamHandle stream);
  void adopt(const cublaslt::Algo& algo);

 private:
  int launch(const cublaslt::Algo& algo, const Pointers& at, double alpha, double beta,
             void* workspace, cuda::StreamHandle stream);
  std::vector<cublaslt::HeuristicResult> ask(int most) const;
  void make_descriptors();
  void destroy() noexcept;

  const cublaslt::Handle handle_;
  const Problem problem_;
  std::mutex mutex_;  // the descriptor holds the pointers of one call
  cublaslt::Desc desc_ = nullptr;
  cublaslt::Layout a_ = nullptr;  // cuBLASLt's: our b, because it counts by columns
  cublaslt::Layout b_ = nullptr;
  cublaslt::Layout c_ = nullptr;
  cublaslt::Layout d_ = nullptr;
  cublaslt::Algo algo_{};
  std::atomic<bool> tuned_{false};
  std::atomic<int> calls_{0};
};

}  // namespace ionian::blas
