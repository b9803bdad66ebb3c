// tuner.hpp: measures, in the background, which of cuBLASLt's algorithms is fastest for a problem.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "blas/algorithm_store.hpp"
#include "blas/plan.hpp"

namespace ionian::blas {

/// One thread for all GPUs, started with the first problem. It uses memory and a stream of its own.
class Tuner {
 public:
  /// Returns the process's tuner, which ends with the process; nullptr if IONIAN_BLAS_TUNE=0.
  static Tuner* instance();

  /// Measures the plan some time; the faster algorithm is then the plan's and the store's. Both
  /// must live as long as the process. Thread-safe.
  void request(Plan& plan, AlgorithmStore& store, int device);
  /// Waits until everything requested is done. For benchmarks and tests.
  void drain();
  ~Tuner();

 private:
  struct Request {
    Plan* plan;
    AlgorithmStore* store;
    int device;
  };
  void loop();
  void tune(const Request& request);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Request> requests_;
  bool busy_ = false;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace ionian::blas
