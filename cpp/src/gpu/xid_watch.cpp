#include "gpu/xid_watch.hpp"

#include <unistd.h>

#include <atomic>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "base/syscall.hpp"
#include "gpu/nvml_session.hpp"
#include "ionian/device.hpp"
#include "ionian/error.hpp"
#include "ionian/log.hpp"

namespace ionian {

struct XidWatch::State {
  std::vector<std::string> uuids;
  UniqueFd ready;  // an eventfd
  std::atomic<bool> stop{false};
  std::atomic<bool> watching{false};
  std::mutex mutex;
  std::deque<GpuEvent> events;

  void push(GpuEvent event) {
    const std::scoped_lock lock(mutex);
    events.push_back(std::move(event));
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(ready.get(), &one, sizeof(one));
  }
};

namespace {

using nvml::Api;
using nvml::call;
using nvml::Handle;

/// How long the thread may stay after the object is gone, and between two looks at the GPUs.
constexpr unsigned kSliceMs = 1000;

std::atomic<int> threads{0};

struct Watched {
  std::string uuid;  // as it was given
  Handle device = nullptr;
  Handle gpu = nullptr;  // that events come from
  unsigned instance = nvml::kNoInstance;
  bool gone = false;  // and said so
};

std::vector<Watched> register_all(const Api& api, const std::vector<std::string>& uuids,
                                  nvml::EventSet set) {
  std::vector<Watched> all;
  for (const auto& uuid : uuids) {
    Watched each;
    each.uuid = uuid;
    const std::string whole(gpu_of(uuid));
    if (call(api.get_handle_by_uuid, whole.c_str(), &each.device) != nvml::kSuccess) continue;
    each.gpu = each.device;
    if (whole.starts_with("MIG-")) {
      call(api.get_gpu_of_mig, each.device, &each.gpu);
      call(api.get_gpu_instance, each.device, &each.instance);
    }
    // Two slices of one GPU register it twice, which does no harm.
    if (call(api.register_events, each.gpu, nvml::kXidEvent, set) != nvml::kSuccess) continue;
    all.push_back(std::move(each));
  }
  return all;
}

/// Says of each GPU once if it is no longer there. Other errors are left alone: a container that
/// loses its device files keeps its running programs.
void look(const Api& api, std::vector<Watched>& all, XidWatch::State& state) {
  for (auto& each : all) {
    if (each.gone) continue;
    Handle handle = nullptr;
    const auto code = call(api.get_handle_by_uuid, std::string(gpu_of(each.uuid)).c_str(), &handle);
    const bool mig = each.uuid.starts_with("MIG-");
    if (code == nvml::kGpuIsLost || code == nvml::kResetRequired) {
      state.push({each.uuid, 0, nvml::error_text(api, code)});
    } else if (code == nvml::kNotFound && mig) {
      state.push({each.uuid, 0, "MIG instance gone"});
    } else {
      continue;
    }
    each.gone = true;
  }
}

void report(const std::vector<Watched>& all, const nvml::EventData& event, XidWatch::State& state) {
  for (const auto& each : all) {
    if (each.gpu != event.device) continue;
    const bool other = each.instance != nvml::kNoInstance &&
                       event.gpu_instance != nvml::kNoInstance &&
                       each.instance != event.gpu_instance;
    if (!other) state.push({each.uuid, static_cast<std::uint32_t>(event.data), ""});
  }
}

void run(XidWatch::State& state) {
  const nvml::Session session;
  if (!session) return;
  const Api& api = session.api();
  nvml::EventSet set = nullptr;
  if (call(api.event_set_create, &set) != nvml::kSuccess) return;
  auto all = register_all(api, state.uuids, set);
  state.watching = !all.empty();
  while (!state.stop && !all.empty()) {
    nvml::EventData event{};
    const auto code = call(api.event_set_wait, set, &event, kSliceMs);
    if (code == nvml::kSuccess) {
      if ((event.type & nvml::kXidEvent) != 0) report(all, event, state);
      continue;
    }
    look(api, all, state);
    // A wait that fails at once, as on a lost GPU, must not spin.
    if (code != nvml::kTimeout) std::this_thread::sleep_for(std::chrono::milliseconds(kSliceMs));
  }
  call(api.event_set_free, set);
}

}  // namespace

XidWatch::XidWatch(std::vector<std::string> uuids) : state_(std::make_shared<State>()) {
  state_->uuids = std::move(uuids);
  state_->ready = sys::event_fd();
  ++threads;
  try {
    std::thread([state = state_] {
      try {
        run(*state);
      } catch (const std::exception& error) {
        log(LogLevel::kWarning, std::string("GPUs are not watched: ") + error.what());
      }
      --threads;
    }).detach();
  } catch (const std::system_error& error) {
    --threads;
    throw ResourceExhaustedError(std::string("[gpu] no thread to watch GPUs in: ") + error.what());
  }
}

XidWatch::~XidWatch() {
  if (state_) state_->stop = true;
}
XidWatch::XidWatch(XidWatch&&) noexcept = default;
XidWatch& XidWatch::operator=(XidWatch&& other) noexcept {
  if (this != &other) {
    if (state_) state_->stop = true;
    state_ = std::move(other.state_);
  }
  return *this;
}

int XidWatch::fd() const noexcept { return state_ ? state_->ready.get() : -1; }

std::optional<GpuEvent> XidWatch::next() {
  const std::scoped_lock lock(state_->mutex);
  if (state_->events.empty()) {
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t size = ::read(fd(), &count, sizeof(count));
    return std::nullopt;
  }
  GpuEvent event = std::move(state_->events.front());
  state_->events.pop_front();
  return event;
}

bool XidWatch::watching() const { return state_->watching; }

bool XidWatch::threads_left() noexcept { return threads != 0; }

}  // namespace ionian
