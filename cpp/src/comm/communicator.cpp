#include "ionian/communicator.hpp"

#include <array>
#include <exception>
#include <thread>

#include "comm/backend.hpp"
#include "ionian/error.hpp"

namespace ionian {
namespace {

constexpr std::array<const char*, 5> kOps = {"sum", "prod", "max", "min", "avg"};
constexpr std::array<const char*, 9> kKinds = {"all_reduce", "reduce",         "broadcast",
                                               "all_gather", "reduce_scatter", "all_to_all",
                                               "send",       "recv",           "barrier"};

using Kind = CommCall::Kind;

bool reduces(Kind kind) {
  return kind == Kind::kAllReduce || kind == Kind::kReduce || kind == Kind::kReduceScatter;
}

[[noreturn]] void refuse(const CommCall& call, const std::string& what) {
  throw InvalidError("[communicator] " + call.to_string() + ": " + what);
}

void check_array(const CommCall& call, const Array& array, const char* name, int device) {
  if (!array.is_contiguous()) {
    refuse(call, std::string(name) + " is " + array.to_string() +
                     "; expected a contiguous array\nnext: make it so, e.g. with .contiguous() or "
                     "numpy.ascontiguousarray()");
  }
  if (array.device == device) return;
  const std::string wanted = device == Array::kHost ? "the host (its GPUs are simulated)"
                                                    : "cuda:" + std::to_string(device);
  refuse(call,
         std::string(name) + " is " + array.to_string() + "; this communicator is on " + wanted);
}

void check_sizes(const CommCall& call, std::int64_t in, std::int64_t out) {
  if (call.in.dtype != call.out.dtype) {
    refuse(call, "in is " + call.in.to_string() + ", out is " + call.out.to_string() +
                     "; expected one type");
  }
  if (in == out) return;
  refuse(call, "in is " + call.in.to_string() + ", out is " + call.out.to_string() + ": " +
                   std::to_string(in) + " elements would have to fit " + std::to_string(out));
}

}  // namespace

const char* to_string(ReduceOp op) noexcept { return kOps[static_cast<std::size_t>(op)]; }
const char* to_string(CommBackend backend) noexcept {
  return backend == CommBackend::kNccl ? "nccl" : "shared_memory";
}

std::string CommCall::to_string() const {
  std::string text = kKinds[static_cast<std::size_t>(kind)];
  if (kind == Kind::kBarrier) return text + "()";
  const Array& array = kind == Kind::kRecv ? out : in;
  text += "(" + std::string(ionian::to_string(array.dtype)) + ", " + std::to_string(array.size()) +
          " elements";
  if (reduces(kind)) text += std::string(", ") + ionian::to_string(op);
  if (kind == Kind::kReduce || kind == Kind::kBroadcast) text += ", root " + std::to_string(peer);
  if (kind == Kind::kSend) text += ", to rank " + std::to_string(peer);
  if (kind == Kind::kRecv) text += ", from rank " + std::to_string(peer);
  return text + ")";
}

void check_call(const CommCall& call, const Communicator::Backend& backend) {
  if (call.kind == Kind::kBarrier) return;
  if (call.peer < 0 || call.peer >= backend.world_size) {
    refuse(call, "there is no rank " + std::to_string(call.peer) + "; the communicator has " +
                     std::to_string(backend.world_size));
  }
  if (call.between_two() && call.peer == backend.rank) {
    refuse(call, "a rank cannot send to itself");
  }
  if (call.kind != Kind::kRecv) check_array(call, call.in, "in", backend.device);
  const bool writes =
      call.kind != Kind::kSend && !(call.kind == Kind::kReduce && call.peer != backend.rank);
  if (!writes) return;
  check_array(call, call.out, "out", backend.device);
  if (call.kind == Kind::kRecv) return;
  const std::int64_t many = backend.world_size;
  const std::int64_t in = call.in.size() * (call.kind == Kind::kAllGather ? many : 1);
  const std::int64_t out = call.out.size() * (call.kind == Kind::kReduceScatter ? many : 1);
  check_sizes(call, in, out);
  if (call.kind == Kind::kAllToAll) {
    if (in % many != 0)
      refuse(call, "the elements cannot be divided among " + std::to_string(many) + " ranks");
    if (call.in.data == call.out.data && in != 0) refuse(call, "it cannot be done in place");
  }
}

std::string Communicator::unique_id(CommBackend backend) {
  return backend == CommBackend::kNccl ? nccl_unique_id() : shared_memory_unique_id();
}

Communicator::Communicator(const std::string& id, int rank, int world_size, int device,
                           CommunicatorOptions options)
    : options_(std::move(options)) {
  if (world_size < 1 || rank < 0 || rank >= world_size) {
    throw InvalidError("[communicator] rank " + std::to_string(rank) + " of " +
                       std::to_string(world_size) + "; expected 0 <= rank < world_size");
  }
  if (id.starts_with('N')) {
    backend_ = join_nccl(id, rank, world_size, device, options_);
  } else if (id.starts_with('S')) {
    if (device != Array::kHost) {
      throw InvalidError(
          "[communicator] device " + std::to_string(device) +
          " over shared memory; it is for arrays of the host\nnext: make the id with "
          "the back end nccl for GPUs");
    }
    backend_ = join_shared_memory(id, rank, world_size, options_);
  } else {
    throw InvalidError("[communicator] got " + std::to_string(id.size()) +
                       " bytes that are no id; expected what unique_id() returned");
  }
}

Communicator::Communicator(std::shared_ptr<Backend> backend, CommunicatorOptions options)
    : backend_(std::move(backend)), options_(std::move(options)) {}
Communicator::~Communicator() = default;
Communicator::Communicator(Communicator&&) noexcept = default;
Communicator& Communicator::operator=(Communicator&&) noexcept = default;

int Communicator::rank() const noexcept { return backend_->rank; }
int Communicator::world_size() const noexcept { return backend_->world_size; }
int Communicator::device() const noexcept { return backend_->device; }
CommBackend Communicator::backend() const noexcept { return backend_->kind(); }

namespace {
void run(Communicator::Backend& backend, const CommCall& call) {
  check_call(call, backend);
  backend.run(call);
}
}  // namespace

void Communicator::all_reduce(const Array& in, const Array& out, ReduceOp op, Stream stream) {
  run(*backend_, {Kind::kAllReduce, op, 0, in, out, stream});
}
void Communicator::reduce(const Array& in, const Array& out, ReduceOp op, int root, Stream stream) {
  run(*backend_, {Kind::kReduce, op, root, in, out, stream});
}
void Communicator::broadcast(const Array& array, int root, Stream stream) {
  run(*backend_, {Kind::kBroadcast, ReduceOp::kSum, root, array, array, stream});
}
void Communicator::all_gather(const Array& in, const Array& out, Stream stream) {
  run(*backend_, {Kind::kAllGather, ReduceOp::kSum, 0, in, out, stream});
}
void Communicator::reduce_scatter(const Array& in, const Array& out, ReduceOp op, Stream stream) {
  run(*backend_, {Kind::kReduceScatter, op, 0, in, out, stream});
}
void Communicator::all_to_all(const Array& in, const Array& out, Stream stream) {
  run(*backend_, {Kind::kAllToAll, ReduceOp::kSum, 0, in, out, stream});
}
void Communicator::send(const Array& array, int peer, Stream stream) {
  run(*backend_, {Kind::kSend, ReduceOp::kSum, peer, array, array, stream});
}
void Communicator::recv(const Array& array, int peer, Stream stream) {
  run(*backend_, {Kind::kRecv, ReduceOp::kSum, peer, array, array, stream});
}
void Communicator::barrier(Stream stream) {
  run(*backend_, {Kind::kBarrier, ReduceOp::kSum, 0, {}, {}, stream});
}
void Communicator::group_start() { backend_->group_start(); }
void Communicator::group_end() { backend_->group_end(); }

std::optional<Communicator> Communicator::split(int color, int key) {
  auto part = backend_->split(color, key);
  if (!part) return std::nullopt;
  return Communicator(std::move(part), options_);
}

void Communicator::wait(Stream stream) { backend_->wait(stream); }
void Communicator::abort() noexcept { backend_->abort(); }

std::vector<Communicator> make_communicators(const std::vector<int>& devices, CommBackend backend,
                                             const CommunicatorOptions& options) {
  const std::string id = Communicator::unique_id(backend);
  std::vector<std::optional<Communicator>> made(devices.size());
  std::vector<std::exception_ptr> failed(devices.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < devices.size(); ++i) {
    threads.emplace_back([&, i] {
      try {
        made[i].emplace(id, static_cast<int>(i), static_cast<int>(devices.size()), devices[i],
                        options);
      } catch (...) {
        failed[i] = std::current_exception();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& error : failed) {
    if (error) std::rethrow_exception(error);
  }
  std::vector<Communicator> communicators;
  communicators.reserve(made.size());
  for (auto& each : made) communicators.push_back(std::move(*each));
  return communicators;
}

}  // namespace ionian
