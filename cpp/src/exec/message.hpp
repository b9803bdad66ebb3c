// message.hpp: what caller, guardian and launcher say to each other, as plain structs.
//
// Each struct names its type once and lists its fields once, in `visit`; encoding and decoding
// follow. One whose lists belong together says so in `consistent`, which `parse` asks.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "base/wire.hpp"
#include "exec/frame.hpp"
#include "ionian/error.hpp"

namespace ionian::message {

enum class Type : std::uint16_t {
  // caller → guardian
  kHello = 1,
  kStartLauncher,
  kStartWorker,
  kStopWorker,
  kReleaseWorker,
  kShutdown,
  // guardian → caller
  kLauncherReady,
  kLauncherFailed,
  kWaiting,
  kLeased,
  kLeaseFailed,
  kForked,
  kExited,
  kOutput,
  kWanted,
  kStopped,
  // guardian → launcher
  kSetup,
  kFork,
  // launcher → guardian
  kReady,
  kFailed,
  // guardian → caller
  kGpuNotice,
};

inline constexpr std::uint32_t kProtocolVersion = 1;

/// First message; the guardian refuses another version.
struct Hello {
  static constexpr Type kType = Type::kHello;
  std::uint32_t version = kProtocolVersion;
  std::string run;
  std::string app;
  bool has_simulate = false;
  std::string simulate;
  std::string match;
  std::string lock_dir;
  std::int64_t caller_pid = 0;
  std::vector<std::string> held_by_ancestors;
  std::vector<std::string> callers;  // as in LeaseOwner
  template <class V>
  void visit(V& v) {
    v(version), v(run), v(app), v(has_simulate), v(simulate), v(match), v(lock_dir), v(caller_pid),
        v(held_by_ancestors), v(callers);
  }
};

struct StartLauncher {
  static constexpr Type kType = Type::kStartLauncher;
  std::uint32_t launcher = 0;
  std::vector<std::string> argv;
  std::vector<std::string> env;
  std::string cwd;
  std::string setup;
  template <class V>
  void visit(V& v) {
    v(launcher), v(argv), v(env), v(cwd), v(setup);
  }
};

/// Attached: channel memory, doorbell, channel socket. An empty request needs no GPU.
struct StartWorker {
  static constexpr Type kType = Type::kStartWorker;
  std::uint32_t worker = 0;
  std::uint32_t launcher = 0;
  std::uint32_t inherit = 0;  // the dead worker whose lease it takes over, 0 for none
  std::vector<std::string> request;
  std::string function;
  template <class V>
  void visit(V& v) {
    v(worker), v(launcher), v(inherit), v(request), v(function);
  }
};

/// `terminate`: SIGTERM at once; else the worker has been asked through its ring. SIGKILL after
/// grace.
struct StopWorker {
  static constexpr Type kType = Type::kStopWorker;
  std::uint32_t worker = 0;
  std::uint32_t grace_ms = 0;
  bool terminate = true;
  template <class V>
  void visit(V& v) {
    v(worker), v(grace_ms), v(terminate);
  }
};

/// Gives back the lease of a worker that has ended, or leaves the queue for one that waits.
struct ReleaseWorker {
  static constexpr Type kType = Type::kReleaseWorker;
  std::uint32_t worker = 0;
  template <class V>
  void visit(V& v) {
    v(worker);
  }
};

struct Shutdown {
  static constexpr Type kType = Type::kShutdown;
  std::uint32_t grace_ms = 0;
  template <class V>
  void visit(V& v) {
    v(grace_ms);
  }
};

struct LauncherReady {
  static constexpr Type kType = Type::kLauncherReady;
  std::uint32_t launcher = 0;
  bool forkable = true;
  std::string reason;  // why it may not fork
  template <class V>
  void visit(V& v) {
    v(launcher), v(forkable), v(reason);
  }
};

struct LauncherFailed {
  static constexpr Type kType = Type::kLauncherFailed;
  std::uint32_t launcher = 0;
  std::string text;
  template <class V>
  void visit(V& v) {
    v(launcher), v(text);
  }
};

/// The worker's request stands in the queue; `text` explains why.
struct Waiting {
  static constexpr Type kType = Type::kWaiting;
  std::uint32_t worker = 0;
  std::string text;
  template <class V>
  void visit(V& v) {
    v(worker), v(text);
  }
};

/// The worker holds these GPUs: the i-th is `types[i]` with `uuids[i]`.
struct Leased {
  static constexpr Type kType = Type::kLeased;
  std::uint32_t worker = 0;
  std::vector<std::string> uuids;
  std::vector<std::string> types;
  template <class V>
  void visit(V& v) {
    v(worker), v(uuids), v(types);
  }
  [[nodiscard]] bool consistent() const { return uuids.size() == types.size(); }
};

struct LeaseFailed {
  static constexpr Type kType = Type::kLeaseFailed;
  std::uint32_t worker = 0;
  std::string error;  // the class's name
  std::string text;
  template <class V>
  void visit(V& v) {
    v(worker), v(error), v(text);
  }
};

/// Also launcher → guardian.
struct Forked {
  static constexpr Type kType = Type::kForked;
  std::uint32_t worker = 0;
  std::int64_t pid = 0;
  template <class V>
  void visit(V& v) {
    v(worker), v(pid);
  }
};

/// Also launcher → guardian. `code` is CLD_EXITED, CLD_KILLED or CLD_DUMPED, 0 if unknown.
struct Exited {
  static constexpr Type kType = Type::kExited;
  std::uint32_t worker = 0;
  std::uint32_t code = 0;
  std::uint32_t status = 0;
  bool out_of_memory = false;  // the kernel's own counter says so
  std::string cause;           // "" or what ended it, e.g. "could not be forked: …"
  std::string gpu;             // that failed under it: "H100 GPU-…", "" if none did
  std::string gpu_uuid;
  std::string gpu_fault;   // "Xid 79: GPU has fallen off the bus"
  std::string gpu_action;  // what a person should do
  std::uint32_t xid = 0;
  template <class V>
  void visit(V& v) {
    v(worker), v(code), v(status), v(out_of_memory), v(cause);
    v(gpu), v(gpu_uuid), v(gpu_fault), v(gpu_action), v(xid);
  }
};

/// The driver reported an error of a worker's GPU which does not end its call.
struct GpuNotice {
  static constexpr Type kType = Type::kGpuNotice;
  std::uint32_t worker = 0;
  std::string text;
  template <class V>
  void visit(V& v) {
    v(worker), v(text);
  }
};

/// Bytes of a worker's stdout (1) or stderr (2); worker 0 is a launcher, while it imports.
struct Output {
  static constexpr Type kType = Type::kOutput;
  std::uint32_t worker = 0;
  std::uint32_t stream = 1;
  std::string bytes;
  template <class V>
  void visit(V& v) {
    v(worker), v(stream), v(bytes);
  }
};

/// Requests wait that could be granted with GPUs of ours: the i-th lacks any `counts[i]` of the
/// next `sizes[i]` of `uuids`. Replaces what was said before; give those that are idle.
struct Wanted {
  static constexpr Type kType = Type::kWanted;
  std::vector<std::uint32_t> counts;
  std::vector<std::uint32_t> sizes;
  std::vector<std::string> uuids;
  template <class V>
  void visit(V& v) {
    v(counts), v(sizes), v(uuids);
  }
  [[nodiscard]] bool consistent() const {
    std::uint64_t size = 0;
    for (const std::uint32_t each : sizes) size += each;
    return counts.size() == sizes.size() && size == uuids.size();
  }
};

/// Somebody asked the guardian to end the run; `text` says who.
struct Stopped {
  static constexpr Type kType = Type::kStopped;
  std::string text;
  template <class V>
  void visit(V& v) {
    v(text);
  }
};

struct Setup {
  static constexpr Type kType = Type::kSetup;
  std::string setup;
  template <class V>
  void visit(V& v) {
    v(setup);
  }
};

/// Attached: channel memory, doorbell, channel socket, stdout, stderr.
struct Fork {
  static constexpr Type kType = Type::kFork;
  std::uint32_t worker = 0;
  std::vector<std::string> env;  // "NAME=value"
  std::vector<std::uint32_t> cpus;
  template <class V>
  void visit(V& v) {
    v(worker), v(env), v(cpus);
  }
};

struct Ready {
  static constexpr Type kType = Type::kReady;
  bool forkable = true;
  std::string reason;
  template <class V>
  void visit(V& v) {
    v(forkable), v(reason);
  }
};

struct Failed {
  static constexpr Type kType = Type::kFailed;
  std::string text;
  template <class V>
  void visit(V& v) {
    v(text);
  }
};

namespace detail {

struct Encoder {
  wire::Writer writer;
  void operator()(bool& value) { writer.boolean(value); }
  void operator()(std::uint32_t& value) { writer.u32(value); }
  void operator()(std::int64_t& value) { writer.i64(value); }
  void operator()(std::string& value) { writer.text(value); }
  void operator()(std::vector<std::string>& values) { writer.texts(values); }
  void operator()(std::vector<std::uint32_t>& values) {
    writer.u32(static_cast<std::uint32_t>(values.size()));
    for (auto& value : values) writer.u32(value);
  }
};

struct Decoder {
  wire::Reader reader;
  void operator()(bool& value) { value = reader.boolean(); }
  void operator()(std::uint32_t& value) { value = reader.u32(); }
  void operator()(std::int64_t& value) { value = reader.i64(); }
  void operator()(std::string& value) { value = reader.text(); }
  void operator()(std::vector<std::string>& values) { values = reader.texts(); }
  void operator()(std::vector<std::uint32_t>& values) {
    const std::uint32_t count = reader.u32();
    for (std::uint32_t i = 0; i < count; ++i) values.push_back(reader.u32());
  }
};

}  // namespace detail

/// Sends a message as one frame.
template <class Message>
void send(FrameSocket& socket, Message message, const std::vector<int>& fds = {}) {
  detail::Encoder encoder;
  message.visit(encoder);
  socket.send(static_cast<std::uint16_t>(Message::kType), encoder.writer.take(), fds);
}

/// Returns the message in a frame. Throws ExecutionError if it is cut short or too long, or if its
/// lists do not belong together.
template <class Message>
Message parse(const Frame& frame) {
  Message message;
  detail::Decoder decoder{wire::Reader(frame.body)};
  message.visit(decoder);
  decoder.reader.finish();
  if constexpr (requires { message.consistent(); }) {
    if (!message.consistent()) {
      throw ExecutionError("[message] the lists of a message of type " +
                           std::to_string(static_cast<std::uint16_t>(Message::kType)) +
                           " do not belong together: their lengths differ");
    }
  }
  return message;
}

}  // namespace ionian::message
