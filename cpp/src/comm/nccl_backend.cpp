// Collectives on NCCL.
//
// The communicator is a blocking one: a non-blocking one starts a thread for each call. What may
// block for ever is bounded in other ways: joining and splitting happen in a thread that is given
// up after the timeout, and a watchdog aborts the communicator when a call has not come back, which
// makes the call return.
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

#include "base/syscall.hpp"
#include "comm/backend.hpp"
#include "comm/nccl_api.hpp"
#include "cuda/device.hpp"
#include "ionian/error.hpp"

namespace ionian {
namespace {

using std::chrono::milliseconds;
using Kind = CommCall::Kind;

constexpr milliseconds kSlice{50};
constexpr milliseconds kLook{1};  // between looks at NCCL's own error state
constexpr std::chrono::microseconds kSpin{200};
constexpr int kFirstWithFloat8 = 22400;

/// ncclDataType_t, by DType.
constexpr std::array<int, kDTypes> kTypes = {8, 7, 6, 9, 10, 11, 0, 1, 2, 3, 4, 5};

bool is_float8(DType dtype) { return dtype == DType::kFloat8E4M3 || dtype == DType::kFloat8E5M2; }

/// Runs `body` in a thread and waits for its result; nullopt after `timeout`, or when interrupted.
/// The thread is then left to itself: whatever it holds must be owned by `body`.
template <class Body>
auto bounded(Body body, const CommunicatorOptions& options)
    -> std::optional<std::invoke_result_t<Body>> {
  using Result = std::invoke_result_t<Body>;
  struct Shared {
    std::mutex mutex;
    std::condition_variable changed;
    std::optional<Result> result;
  };
  const auto shared = std::make_shared<Shared>();
  std::thread([shared, body = std::move(body)]() mutable {
    Result result = body();
    const std::lock_guard lock(shared->mutex);
    shared->result = std::move(result);
    shared->changed.notify_all();
  }).detach();
  const auto deadline = sys::Clock::now() + options.timeout;
  std::unique_lock lock(shared->mutex);
  while (!shared->result && sys::Clock::now() < deadline) {
    shared->changed.wait_for(lock, kSlice);
    if (shared->result || !options.interrupted) continue;
    lock.unlock();
    const bool enough = options.interrupted();
    lock.lock();
    if (enough) break;
  }
  return std::move(shared->result);
}

class NcclBackend final : public Communicator::Backend {
 public:
  NcclBackend(nccl::Comm comm, int rank, int world_size, int device, CommunicatorOptions options);
  ~NcclBackend() override;

  void run(const CommCall& call) override;
  void group_start() override;
  void group_end() override;
  std::shared_ptr<Backend> split(int color, int key) override;
  void wait(Communicator::Stream stream) override;
  void abort() noexcept override;
  [[nodiscard]] CommBackend kind() const noexcept override { return CommBackend::kNccl; }

  /// Has every connection made that a first collective needs, so that no later one waits for it.
  void warm_up();

 private:
  [[nodiscard]] std::string me() const {
    return "[communicator] rank " + std::to_string(rank) + " of " + std::to_string(world_size) +
           " on cuda:" + std::to_string(device);
  }
  void check_usable() const;
  /// Runs a call of NCCL under the watchdog and throws if it fails; `what()` names it then.
  template <class What, class Body>
  void guarded(What what, Body body);
  int enqueue(const CommCall& call);
  void barrier(Communicator::Stream stream);
  void watch();
  [[noreturn]] void fail(const std::string& what, int result);

  const nccl::Api& api_;
  const CommunicatorOptions options_;
  nccl::Comm comm_;
  std::atomic<bool> aborted_{false};
  std::atomic<bool> timed_out_{false};
  std::atomic<std::int64_t> busy_until_ns_{0};  // 0: no call is under way
  cuda::Event event_;
  cuda::Stream stream_;
  cuda::DeviceMemory scratch_;  // of a barrier
  int depth_ = 0;
  std::mutex stop_mutex_;
  std::condition_variable stop_changed_;
  bool stop_ = false;
  std::thread watchdog_;
};

NcclBackend::NcclBackend(nccl::Comm comm, int rank_, int world_size_, int device_,
                         CommunicatorOptions options)
    : Backend(rank_, world_size_, device_),
      api_(nccl::api()),
      options_(std::move(options)),
      comm_(comm) {
  const cuda::ContextGuard guard(device);
  event_ = cuda::make_event();
  stream_ = cuda::make_stream();
  scratch_ = cuda::make_device_memory(sizeof(float));
  watchdog_ = std::thread([this] { watch(); });
}

NcclBackend::~NcclBackend() {
  {
    const std::lock_guard lock(stop_mutex_);
    stop_ = true;
  }
  stop_changed_.notify_all();
  watchdog_.join();
  try {
    const cuda::ContextGuard guard(device);
    // Destroying waits for work that a dead peer never finishes; aborting does not. Work that is
    // done makes both the same.
    if (!aborted_.exchange(true)) {
      const bool idle = cuda::driver().cuStreamQuery(stream_.get()) == cuda::kSuccess;
      int state = nccl::kSuccess;
      api_.ncclCommGetAsyncError(comm_, &state);
      if (idle && state == nccl::kSuccess) {
        const nccl::Comm comm = comm_;
        const nccl::Api& api = api_;
        const int gpu = device;
        CommunicatorOptions limit;
        limit.timeout = milliseconds(2000);
        const auto done = bounded(
            [comm, &api, gpu] {
              const cuda::ContextGuard inner(gpu);
              return api.ncclCommDestroy(comm);
            },
            limit);
        if (!done) api_.ncclCommAbort(comm_);
      } else {
        api_.ncclCommAbort(comm_);
      }
    }
    event_.reset();
    stream_.reset();
    scratch_.reset();
  } catch (const Error&) {
    // The context is broken: the process has to end anyway.
  }
}

void NcclBackend::watch() {
  std::unique_lock lock(stop_mutex_);
  while (!stop_) {
    stop_changed_.wait_for(lock, kSlice);
    const std::int64_t until = busy_until_ns_.load();
    if (until == 0 || sys::Clock::now().time_since_epoch().count() < until) continue;
    timed_out_ = true;
    abort();
  }
}

void NcclBackend::abort() noexcept {
  if (aborted_.exchange(true)) return;
  try {
    const cuda::ContextGuard guard(device);
    api_.ncclCommAbort(comm_);
  } catch (const Error&) {
    // Nothing is left that could wait.
  }
}

void NcclBackend::check_usable() const {
  if (!aborted_) return;
  throw ExecutionError(me() + ": it was aborted" + (timed_out_ ? " after a timeout" : "") +
                       "\nnext: make a new communicator");
}

void NcclBackend::fail(const std::string& what, int result) {
  if (timed_out_) {
    throw TimeoutError(me() + " in " + what + ": the other ranks did not come within " +
                       std::to_string(options_.timeout.count()) +
                       " ms\nnext: every rank must make the same calls in the same order");
  }
  const std::string detail = aborted_ ? "it was aborted" : api_.ncclGetLastError(comm_);
  std::string text = me() + " in " + what + ": " + api_.ncclGetErrorString(result) +
                     (detail.empty() ? "" : "\n" + detail) +
                     "\nnext: NCCL_DEBUG=INFO shows what it was about";
  if (result == nccl::kRemoteError) throw ConnectionError(text);
  throw CudaError(text, result);
}

template <class What, class Body>
void NcclBackend::guarded(What what, Body body) {
  check_usable();
  const cuda::ContextGuard guard(device);
  busy_until_ns_ = (sys::Clock::now() + options_.timeout).time_since_epoch().count();
  const int result = body();
  busy_until_ns_ = 0;
  if (result != nccl::kSuccess || aborted_) fail(what(), result);
}

int NcclBackend::enqueue(const CommCall& call) {
  const int type = kTypes[static_cast<std::size_t>(call.in.dtype)];
  const auto op = static_cast<int>(call.op);
  const auto count = static_cast<std::size_t>(call.in.size());
  switch (call.kind) {
    case Kind::kAllReduce:
      return api_.ncclAllReduce(call.in.data, call.out.data, count, type, op, comm_, call.stream);
    case Kind::kReduce:
      return api_.ncclReduce(call.in.data, call.out.data, count, type, op, call.peer, comm_,
                             call.stream);
    case Kind::kBroadcast:
      return api_.ncclBroadcast(call.in.data, call.out.data, count, type, call.peer, comm_,
                                call.stream);
    case Kind::kAllGather:
      return api_.ncclAllGather(call.in.data, call.out.data, count, type, comm_, call.stream);
    case Kind::kReduceScatter:
      return api_.ncclReduceScatter(call.in.data, call.out.data,
                                    static_cast<std::size_t>(call.out.size()), type, op, comm_,
                                    call.stream);
    case Kind::kSend:
      return api_.ncclSend(call.in.data, count, type, call.peer, comm_, call.stream);
    case Kind::kRecv:
      return api_.ncclRecv(call.out.data, count, type, call.peer, comm_, call.stream);
    case Kind::kAllToAll: {
      // ncclAlltoAll came with 2.28; a group of sends and receives is what it does.
      const auto each = call.in.bytes() / static_cast<std::size_t>(world_size);
      const std::size_t part = count / static_cast<std::size_t>(world_size);
      int result = api_.ncclGroupStart();
      for (int peer = 0; peer < world_size && result == nccl::kSuccess; ++peer) {
        const std::size_t at = static_cast<std::size_t>(peer) * each;
        result = api_.ncclSend(static_cast<const std::byte*>(call.in.data) + at, part, type, peer,
                               comm_, call.stream);
        if (result != nccl::kSuccess) break;
        result = api_.ncclRecv(static_cast<std::byte*>(call.out.data) + at, part, type, peer, comm_,
                               call.stream);
      }
      const int ended = api_.ncclGroupEnd();
      return result != nccl::kSuccess ? result : ended;
    }
    case Kind::kBarrier:
      break;
  }
  return nccl::kSuccess;
}

void NcclBackend::run(const CommCall& call) {
  if (is_float8(call.in.dtype) && api_.version < kFirstWithFloat8) {
    throw InvalidError(me() + ": " + call.to_string() + " needs NCCL 2.24 or newer; " + api_.path +
                       " is " + std::to_string(api_.version));
  }
  if (call.kind == Kind::kBarrier) return barrier(call.stream);
  if (call.kind != Kind::kRecv && call.in.size() == 0) return;  // NCCL refuses null pointers
  guarded([&] { return call.to_string(); }, [&] { return enqueue(call); });
}

void NcclBackend::barrier(Communicator::Stream stream) {
  if (depth_ > 0) throw ExecutionError(me() + ": barrier() cannot be part of a group");
  const Array one(reinterpret_cast<void*>(scratch_.get()), DType::kFloat32, {1}, device);
  run({Kind::kAllReduce, ReduceOp::kMax, 0, one, one, stream});
  wait(stream);
}

void NcclBackend::warm_up() {
  const Array one(reinterpret_cast<void*>(scratch_.get()), DType::kFloat32, {1}, device);
  run({Kind::kAllReduce, ReduceOp::kMax, 0, one, one, stream_.get()});
  wait(stream_.get());
}

void NcclBackend::group_start() {
  check_usable();
  ++depth_;
  const int result = api_.ncclGroupStart();
  if (result != nccl::kSuccess) fail("group_start()", result);
}

void NcclBackend::group_end() {
  if (depth_ == 0) throw ExecutionError("[communicator] group_end() without group_start()");
  --depth_;
  guarded([] { return "a group of calls"; }, [this] { return api_.ncclGroupEnd(); });
}

void NcclBackend::wait(Communicator::Stream stream) {
  check_usable();
  const cuda::ContextGuard guard(device);
  const cuda::Driver& cuda = cuda::driver();
  cuda::check(cuda.cuEventRecord(event_.get(), stream), "record an event");
  const auto began = sys::Clock::now();
  auto looked = began;
  for (;;) {
    const int state = cuda.cuEventQuery(event_.get());
    if (state == cuda::kSuccess) return;
    if (state != cuda::kErrorNotReady) {
      abort();
      cuda::check(state, "wait for collectives");
    }
    const auto now = sys::Clock::now();
    if (now - looked < kLook) {
      if (now - began > kSpin) std::this_thread::sleep_for(std::chrono::microseconds(20));
      continue;
    }
    looked = now;
    int error = nccl::kSuccess;
    if (!aborted_) api_.ncclCommGetAsyncError(comm_, &error);
    if (error != nccl::kSuccess && error != nccl::kInProgress) {
      const std::string detail = api_.ncclGetLastError(comm_);
      abort();
      const std::string text = me() + ": " + api_.ncclGetErrorString(error) + "\n" + detail;
      if (error == nccl::kRemoteError) throw ConnectionError(text);
      throw CudaError(text, error);
    }
    if (aborted_) throw ExecutionError(me() + ": aborted while waiting");
    const bool interrupted = options_.interrupted && options_.interrupted();
    if (!interrupted && now - began < options_.timeout) continue;
    timed_out_ = true;
    abort();
    throw TimeoutError(me() + ": a collective has not ended within " +
                       std::to_string(options_.timeout.count()) +
                       " ms\nnext: every rank must make the same calls in the same order");
  }
}

std::shared_ptr<Communicator::Backend> NcclBackend::split(int color, int key) {
  check_usable();
  struct Made {
    int result;
    nccl::Comm comm;
  };
  const nccl::Comm comm = comm_;
  const nccl::Api& api = api_;
  const int gpu = device;
  const auto made = bounded(
      [comm, &api, gpu, color, key] {
        const cuda::ContextGuard guard(gpu);
        Made each{0, nullptr};
        each.result =
            api.ncclCommSplit(comm, color < 0 ? nccl::kNoColor : color, key, &each.comm, nullptr);
        return each;
      },
      options_);
  if (!made) {
    timed_out_ = true;
    abort();
    fail("split()", nccl::kSuccess);
  }
  if (made->result != nccl::kSuccess) fail("split()", made->result);
  if (color < 0 || made->comm == nullptr) return nullptr;
  int new_rank = 0;
  int new_size = 0;
  api_.ncclCommUserRank(made->comm, &new_rank);
  api_.ncclCommCount(made->comm, &new_size);
  return std::make_shared<NcclBackend>(made->comm, new_rank, new_size, device, options_);
}

}  // namespace

std::string nccl_unique_id() {
  nccl::UniqueId id{};
  const nccl::Api& api = nccl::api();
  const int result = api.ncclGetUniqueId(&id);
  if (result != nccl::kSuccess) {
    throw CudaError(
        "[communicator] NCCL makes no id: " + std::string(api.ncclGetErrorString(result)), result);
  }
  return "N" + std::string(id.internal, nccl::kIdBytes);
}

std::shared_ptr<Communicator::Backend> join_nccl(const std::string& id, int rank, int world_size,
                                                 int device, const CommunicatorOptions& options) {
  if (id.size() != 1 + nccl::kIdBytes) {
    throw InvalidError("[communicator] an id of " + std::to_string(id.size()) +
                       " bytes; expected " + std::to_string(1 + nccl::kIdBytes));
  }
  const int gpus = cuda::device_count();
  if (device < 0 || device >= gpus) {
    throw InvalidError("[communicator] device " + std::to_string(device) + "; CUDA shows " +
                       std::to_string(gpus) + " GPUs here, numbered from 0");
  }
  nccl::UniqueId unique{};
  std::memcpy(unique.internal, id.data() + 1, nccl::kIdBytes);
  struct Made {
    int result;
    nccl::Comm comm;
    std::string detail;
  };
  const nccl::Api& api = nccl::api();
  const auto made = bounded(
      [&api, unique, rank, world_size, device] {
        const cuda::ContextGuard guard(device);
        Made each{0, nullptr, ""};
        each.result = api.ncclCommInitRank(&each.comm, world_size, unique, rank);
        if (each.result != nccl::kSuccess) each.detail = api.ncclGetLastError(nullptr);
        return each;
      },
      options);
  const std::string me = "[communicator] rank " + std::to_string(rank) + " of " +
                         std::to_string(world_size) + " on cuda:" + std::to_string(device);
  if (!made) {
    throw TimeoutError(me + ": not all ranks have joined within " +
                       std::to_string(options.timeout.count()) +
                       " ms\nnext: every rank must make its communicator, with the same id");
  }
  if (made->result != nccl::kSuccess) {
    throw CudaError(me + " cannot join: " + api.ncclGetErrorString(made->result) + "\n" +
                        made->detail + "\nnext: NCCL_DEBUG=INFO shows what it was about",
                    made->result);
  }
  auto backend = std::make_shared<NcclBackend>(made->comm, rank, world_size, device, options);
  backend->warm_up();
  return backend;
}

}  // namespace ionian
