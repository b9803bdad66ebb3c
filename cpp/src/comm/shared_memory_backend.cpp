// Collectives over shared memory. Each goes chunk by chunk: every rank puts its part into its slot,
// waits until all have, takes what it needs from all slots, and waits again before slots are used
// anew. Correct before fast: it stands in for NCCL where GPUs are simulated.
#include <algorithm>
#include <array>
#include <cstring>
#include <thread>

#include "base/fault.hpp"
#include "comm/backend.hpp"
#include "comm/call_fields.hpp"
#include "comm/reduce.hpp"
#include "comm/shared_memory.hpp"
#include "ionian/error.hpp"

namespace ionian {
namespace {

using shared_memory::CallFields;
using shared_memory::Control;
using shared_memory::described;
using shared_memory::fields_of;
using shared_memory::Mailbox;
using shared_memory::Presence;
using shared_memory::RankState;
using shared_memory::same;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using Kind = CommCall::Kind;

constexpr milliseconds kSlice{50};
constexpr microseconds kSpin{30};
constexpr std::size_t kIdBytes = 64;  // more than an id has

class SharedMemoryBackend final : public Communicator::Backend {
 public:
  SharedMemoryBackend(const std::string& id, int rank, int world_size, CommunicatorOptions options);
  ~SharedMemoryBackend() override;

  void run(const CommCall& call) override;
  void group_start() override { ++depth_; }
  void group_end() override;
  std::shared_ptr<Backend> split(int color, int key) override;
  void wait(Communicator::Stream) override { check_usable(); }
  void abort() noexcept override;
  [[nodiscard]] CommBackend kind() const noexcept override { return CommBackend::kSharedMemory; }

 private:
  /// A message under way.
  struct Message {
    CommCall call;
    std::size_t sent = 0;
    bool begun = false;
    bool done = false;
  };

  [[nodiscard]] Control& control() const { return *reinterpret_cast<Control*>(control_.data()); }
  [[nodiscard]] RankState& state(int other) const { return control().ranks[other]; }
  [[nodiscard]] Mailbox& mailbox(int from, int to) const {
    return reinterpret_cast<Mailbox*>(pages_[static_cast<std::size_t>(from)].data())[to];
  }
  [[nodiscard]] std::byte* slot(int of) const {
    return pages_[static_cast<std::size_t>(of)].data() +
           static_cast<std::size_t>(world_size) * sizeof(Mailbox);
  }

  void join(const std::string& id);
  void check_usable() const;
  void ring(int other) const;
  void ring_all() const;
  /// Waits until `missing(other)` is false for every other rank.
  template <class Missing>
  void wait_for(const CommCall& call, Missing missing);
  /// Throws if it is no use to wait on for `other`.
  void look_after(const CommCall& call, int other, sys::TimePoint deadline);
  void step(const CommCall& call);
  void collective(const CommCall& call);
  void put(const CommCall& call, std::size_t offset, std::size_t bytes, std::size_t part);
  void take(const CommCall& call, std::size_t offset, std::size_t bytes, std::size_t part);
  void compare(const CommCall& call);
  void exchange(std::vector<Message>& messages);
  [[nodiscard]] bool can_advance(const Message& message) const;
  bool advance(Message& message);
  bool advance_send(Message& message);
  bool advance_recv(Message& message);

  const CommunicatorOptions options_;
  const microseconds spin_;
  sys::Mapping control_;
  std::vector<sys::Mapping> pages_;  // by rank
  std::uint32_t phase_ = 0;
  std::uint64_t sequence_ = 0;
  int depth_ = 0;
  std::vector<CommCall> grouped_;
  std::string broken_;  // why it can be used no more
};

bool ahead(std::uint32_t a, std::uint32_t b) { return static_cast<std::int32_t>(a - b) >= 0; }

SharedMemoryBackend::SharedMemoryBackend(const std::string& id, int rank_, int world_size_,
                                         CommunicatorOptions options)
    : Backend(rank_, world_size_, Array::kHost),
      options_(std::move(options)),
      spin_(static_cast<unsigned>(world_size_) <= std::thread::hardware_concurrency()
                ? kSpin
                : microseconds(0)),
      pages_(static_cast<std::size_t>(world_size_)) {
  if (world_size > shared_memory::kMostRanks) {
    throw InvalidError("[communicator] " + std::to_string(world_size) +
                       " ranks; over shared memory there are at most " +
                       std::to_string(shared_memory::kMostRanks));
  }
  join(id);
}

void SharedMemoryBackend::join(const std::string& id) {
  control_ = shared_memory::open_control(id);
  std::int32_t nobody = 0;
  if (!control().world_size.compare_exchange_strong(nobody, world_size) && nobody != world_size) {
    throw InvalidError("[communicator] rank " + std::to_string(rank) + " joins a world of " +
                       std::to_string(world_size) + ", another rank one of " +
                       std::to_string(nobody));
  }
  auto absent = Presence::kAbsent;
  RankState& mine = state(rank);
  if (!mine.presence.compare_exchange_strong(absent, Presence::kJoining)) {
    throw InvalidError("[communicator] rank " + std::to_string(rank) +
                       " has joined already; each rank joins once");
  }
  const std::size_t bytes = shared_memory::pages_bytes(world_size);
  const UniqueFd fd = sys::sealed_memory("ionian-rank", bytes);
  pages_[static_cast<std::size_t>(rank)] = sys::Mapping(fd.get(), bytes);
  const auto process = shared_memory::this_process();
  mine.pid = process.pid;
  mine.start_time = process.start_time;
  mine.pages_fd = fd.get();
  mine.presence.store(Presence::kJoined);
  ring_all();
  FAULT("comm.join");
  const CommCall joining;
  wait_for(joining, [this](int other) { return state(other).presence < Presence::kJoined; });
  for (int other = 0; other < world_size; ++other) {
    if (other == rank) continue;
    pages_[static_cast<std::size_t>(other)] =
        shared_memory::open_pages(state(other).pid, state(other).pages_fd, bytes);
  }
  FAULT("comm.joined");
  step(joining);  // everybody has opened everything: descriptors can go
  shared_memory::forget(id);
}

SharedMemoryBackend::~SharedMemoryBackend() {
  state(rank).presence.store(Presence::kLeft);
  ring_all();
}

void SharedMemoryBackend::check_usable() const {
  if (!broken_.empty()) {
    throw ExecutionError("[communicator] it can be used no more: " + broken_ +
                         "\nnext: make a new one");
  }
  if (control().aborted.load() != 0) {
    throw ExecutionError("[communicator] it was aborted\nnext: make a new one");
  }
}

void SharedMemoryBackend::ring(int other) const {
  state(other).bell.fetch_add(1, std::memory_order_seq_cst);
  futex_wake(state(other).bell);
}

void SharedMemoryBackend::ring_all() const {
  for (int other = 0; other < world_size; ++other) {
    if (other != rank) ring(other);
  }
}

template <class Missing>
void SharedMemoryBackend::wait_for(const CommCall& call, Missing missing) {
  const auto first = [&] {
    for (int other = 0; other < world_size; ++other) {
      if (other != rank && missing(other)) return other;
    }
    return -1;
  };
  const auto began = sys::Clock::now();
  auto looked = began;
  for (;;) {
    const std::uint32_t seen = state(rank).bell.load(std::memory_order_seq_cst);
    const int other = first();
    if (other < 0) return;
    check_usable();
    const auto now = sys::Clock::now();
    if (now - began < spin_) {
      cpu_relax();
      continue;
    }
    if (now - looked >= kSlice) {
      looked = now;
      try {
        look_after(call, other, began + options_.timeout);
      } catch (const Error& error) {
        const std::string text = error.what();
        broken_ = text.substr(0, text.find('\n'));
        throw;
      }
    }
    futex_wait(state(rank).bell, seen, kSlice);
  }
}

void SharedMemoryBackend::look_after(const CommCall& call, int other, sys::TimePoint deadline) {
  const RankState& theirs = state(other);
  const Presence presence = theirs.presence.load();
  const std::string me = "[communicator] rank " + std::to_string(rank) + " of " +
                         std::to_string(world_size) + " in " + call.to_string() + ": rank " +
                         std::to_string(other);
  if (presence == Presence::kLeft) {
    throw ConnectionError(me + " has closed its communicator");
  }
  if (presence == Presence::kJoined && !shared_memory::is_alive({theirs.pid, theirs.start_time})) {
    throw ConnectionError(me + ", process " + std::to_string(theirs.pid) + ", has ended");
  }
  if (options_.interrupted && options_.interrupted()) {
    throw TimeoutError(me + " was waited for when the wait was interrupted");
  }
  if (sys::Clock::now() < deadline) return;
  std::string where = " has not joined";
  if (presence == Presence::kJoined) {
    const CallFields fields = theirs.call;
    where = fields.sequence == 0 ? " has not called anything yet"
                                 : " was last in " + described(fields).to_string() + ", its call " +
                                       std::to_string(fields.sequence) + "; here this is call " +
                                       std::to_string(sequence_);
  }
  throw TimeoutError(me + where + "; waited " + std::to_string(options_.timeout.count()) +
                     " ms\nnext: every rank must make the same calls in the same order");
}

/// Tells the others that this step is done here, and waits until it is everywhere.
void SharedMemoryBackend::step(const CommCall& call) {
  state(rank).phase.store(++phase_, std::memory_order_seq_cst);
  ring_all();
  wait_for(call, [this](int other) {
    return !ahead(state(other).phase.load(std::memory_order_seq_cst), phase_);
  });
}

void SharedMemoryBackend::run(const CommCall& call) {
  check_usable();
  if (depth_ > 0) return grouped_.push_back(call);
  if (!call.between_two()) return collective(call);
  std::vector<Message> messages{{call}};
  exchange(messages);
}

void SharedMemoryBackend::group_end() {
  if (depth_ == 0) throw ExecutionError("[communicator] group_end() without group_start()");
  if (--depth_ > 0) return;
  const auto calls = std::exchange(grouped_, {});
  std::vector<Message> messages;
  for (const auto& call : calls) {
    if (call.between_two()) messages.push_back({call});
  }
  exchange(messages);
  for (const auto& call : calls) {
    if (!call.between_two()) collective(call);
  }
}

void SharedMemoryBackend::collective(const CommCall& call) {
  state(rank).call = fields_of(call, ++sequence_);
  const bool parts = call.kind == Kind::kReduceScatter || call.kind == Kind::kAllToAll;
  const auto many = static_cast<std::size_t>(world_size);
  const std::size_t each = size_of(call.in.dtype);
  const std::size_t total = call.kind == Kind::kBarrier ? 0 : call.in.bytes() / (parts ? many : 1);
  const std::size_t room = shared_memory::kSlotBytes / (parts ? many : 1) / each * each;
  std::size_t offset = 0;
  do {
    const std::size_t bytes = std::min(room, total - offset);
    // Ranks that call other things must not be read from, nor be written over by us.
    if (offset == 0) {
      step(call);
      compare(call);
    }
    put(call, offset, bytes, total);
    step(call);
    take(call, offset, bytes, total);
    step(call);
    offset += bytes;
  } while (offset < total);
}

void SharedMemoryBackend::compare(const CommCall& call) {
  std::string calls;
  bool agree = true;
  for (int other = 0; other < world_size; ++other) {
    const CallFields fields = state(other).call;
    agree = agree && same(fields, state(0).call);
    calls += "\nrank " + std::to_string(other) + ": " + described(fields).to_string();
  }
  if (agree) return;
  step(call);  // all have read what all called
  throw InvalidError("[communicator] ranks disagree about their call " + std::to_string(sequence_) +
                     calls);
}

void SharedMemoryBackend::put(const CommCall& call, std::size_t offset, std::size_t bytes,
                              std::size_t part) {
  if (call.kind == Kind::kBarrier || bytes == 0) return;
  if (call.kind == Kind::kBroadcast && call.peer != rank) return;
  const auto* in = static_cast<const std::byte*>(call.in.data);
  if (call.kind != Kind::kReduceScatter && call.kind != Kind::kAllToAll) {
    std::memcpy(slot(rank), in + offset, bytes);
    return;
  }
  for (int to = 0; to < world_size; ++to) {
    const auto at = static_cast<std::size_t>(to);
    std::memcpy(slot(rank) + at * bytes, in + at * part + offset, bytes);
  }
}

void SharedMemoryBackend::take(const CommCall& call, std::size_t offset, std::size_t bytes,
                               std::size_t part) {
  if (call.kind == Kind::kBarrier || bytes == 0) return;
  auto* out = static_cast<std::byte*>(call.out.data);
  const std::size_t count = bytes / size_of(call.in.dtype);
  const auto mine = static_cast<std::size_t>(rank);
  std::vector<const std::byte*> slots;
  slots.reserve(static_cast<std::size_t>(world_size));
  const bool scatters = call.kind == Kind::kReduceScatter;
  for (int from = 0; from < world_size; ++from)
    slots.push_back(slot(from) + (scatters ? mine * bytes : 0));
  switch (call.kind) {
    case Kind::kReduce:
      if (call.peer != rank) return;
      [[fallthrough]];
    case Kind::kAllReduce:
    case Kind::kReduceScatter:
      return reduce_on_host(call.in.dtype, call.op, slots, out + offset, count);
    case Kind::kBroadcast:
      std::memcpy(out + offset, slot(call.peer), bytes);
      return;
    case Kind::kAllGather:
    case Kind::kAllToAll:
      for (int from = 0; from < world_size; ++from) {
        const auto at = static_cast<std::size_t>(from);
        const std::size_t skip = call.kind == Kind::kAllToAll ? mine * bytes : 0;
        std::memcpy(out + at * part + offset, slot(from) + skip, bytes);
      }
      return;
    default:
      return;
  }
}

void SharedMemoryBackend::exchange(std::vector<Message>& messages) {
  if (messages.empty()) return;
  ++sequence_;
  state(rank).call = fields_of(messages.front().call, sequence_);
  for (;;) {
    bool moved = false;
    for (std::size_t i = 0; i < messages.size(); ++i) {
      // Messages between the same two, the same way, go one after the other.
      const bool blocked =
          std::any_of(messages.begin(), messages.begin() + static_cast<std::ptrdiff_t>(i),
                      [&](const Message& earlier) {
                        return !earlier.done && earlier.call.peer == messages[i].call.peer &&
                               earlier.call.kind == messages[i].call.kind;
                      });
      while (!blocked && advance(messages[i])) moved = true;
    }
    if (std::all_of(messages.begin(), messages.end(), [](const Message& m) { return m.done; }))
      return;
    if (moved) continue;
    wait_for(messages.front().call, [&](int other) {
      return std::any_of(messages.begin(), messages.end(),
                         [&](const Message& message) {
                           return !message.done && message.call.peer == other;
                         }) &&
             std::none_of(messages.begin(), messages.end(),
                          [&](const Message& message) { return can_advance(message); });
    });
  }
}

bool SharedMemoryBackend::can_advance(const Message& message) const {
  if (message.done) return false;
  const int peer = message.call.peer;
  return message.call.kind == Kind::kSend
             ? mailbox(rank, peer).full.load(std::memory_order_acquire) == 0
             : mailbox(peer, rank).full.load(std::memory_order_acquire) != 0;
}

bool SharedMemoryBackend::advance(Message& message) {
  if (!can_advance(message)) return false;
  return message.call.kind == Kind::kSend ? advance_send(message) : advance_recv(message);
}

bool SharedMemoryBackend::advance_send(Message& message) {
  Mailbox& box = mailbox(rank, message.call.peer);
  const std::size_t total = message.call.in.bytes();
  const std::size_t bytes = std::min(shared_memory::kMailBytes, total - message.sent);
  box.dtype = static_cast<std::uint8_t>(message.call.in.dtype);
  box.elements = message.call.in.size();
  if (bytes != 0)
    std::memcpy(box.data, static_cast<const std::byte*>(message.call.in.data) + message.sent,
                bytes);
  message.sent += bytes;
  message.done = message.sent == total;
  box.full.store(1, std::memory_order_release);
  ring(message.call.peer);
  return true;
}

bool SharedMemoryBackend::advance_recv(Message& message) {
  Mailbox& box = mailbox(message.call.peer, rank);
  if (!message.begun && (box.dtype != static_cast<std::uint8_t>(message.call.out.dtype) ||
                         box.elements != message.call.out.size())) {
    CallFields theirs;
    theirs.kind = static_cast<std::uint8_t>(Kind::kSend);
    theirs.dtype = box.dtype;
    theirs.elements = box.elements;
    theirs.peer = rank;
    throw InvalidError("[communicator] rank " + std::to_string(message.call.peer) + " called " +
                       described(theirs).to_string() + ", rank " + std::to_string(rank) +
                       " called " + message.call.to_string());
  }
  message.begun = true;
  const std::size_t total = message.call.out.bytes();
  const std::size_t bytes = std::min(shared_memory::kMailBytes, total - message.sent);
  if (bytes != 0)
    std::memcpy(static_cast<std::byte*>(message.call.out.data) + message.sent, box.data, bytes);
  message.sent += bytes;
  message.done = message.sent == total;
  box.full.store(0, std::memory_order_release);
  ring(message.call.peer);
  return true;
}

std::shared_ptr<Communicator::Backend> SharedMemoryBackend::split(int color, int key) {
  const auto many = static_cast<std::size_t>(world_size);
  std::array<std::int64_t, 2> mine = {color, key};
  std::vector<std::int64_t> all(2 * many);
  CommCall gather;
  gather.kind = Kind::kAllGather;
  gather.in = Array(mine.data(), DType::kInt64, {2});
  gather.out = Array(all.data(), DType::kInt64, {static_cast<std::int64_t>(2 * many)});
  collective(gather);
  std::vector<std::pair<std::int64_t, int>> members;  // key, rank
  for (int other = 0; other < world_size; ++other) {
    const auto at = 2 * static_cast<std::size_t>(other);
    if (all[at] == color) members.emplace_back(all[at + 1], other);
  }
  std::sort(members.begin(), members.end());
  std::array<char, kIdBytes> id{};
  std::vector<char> ids(kIdBytes * many);
  std::string made;
  if (color >= 0 && members.front().second == rank) {
    made = shared_memory::make_control();
    id[0] = static_cast<char>(made.size());
    std::copy(made.begin(), made.end(), id.begin() + 1);
  }
  gather.in = Array(id.data(), DType::kUInt8, {kIdBytes});
  gather.out = Array(ids.data(), DType::kUInt8, {static_cast<std::int64_t>(ids.size())});
  collective(gather);
  if (color < 0) return nullptr;
  const char* chosen = ids.data() + kIdBytes * static_cast<std::size_t>(members.front().second);
  const auto me = std::find_if(members.begin(), members.end(),
                               [this](const auto& member) { return member.second == rank; });
  return std::make_shared<SharedMemoryBackend>(
      std::string(chosen + 1, static_cast<std::size_t>(chosen[0])),
      static_cast<int>(me - members.begin()), static_cast<int>(members.size()), options_);
}

void SharedMemoryBackend::abort() noexcept {
  control().aborted.store(1);
  for (int other = 0; other < world_size; ++other) ring(other);
}

}  // namespace

std::string shared_memory_unique_id() { return shared_memory::make_control(); }

std::shared_ptr<Communicator::Backend> join_shared_memory(const std::string& id, int rank,
                                                          int world_size,
                                                          const CommunicatorOptions& options) {
  return std::make_shared<SharedMemoryBackend>(id, rank, world_size, options);
}

}  // namespace ionian
