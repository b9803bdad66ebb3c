// The caller's side of exec: Executor, Pool, Call, CallGroup.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cmath>
#include <tuple>
#include <unordered_map>

#include "bindings.hpp"
#include "exec/executor.hpp"

namespace py = pybind11;

namespace {

using ionian::CallPtr;
using ionian::Executor;
using ionian::sys::Clock;
using ionian::sys::TimePoint;
using ExecutorPtr = std::shared_ptr<Executor>;

constexpr auto kSlice = std::chrono::milliseconds(50);   // between looks at Ctrl-C
constexpr auto kHoldGil = std::chrono::microseconds(5);  // a short call ends before a switch pays
constexpr std::size_t kCopyWithGil = std::size_t{64} << 10;

struct PoolHandle {
  ExecutorPtr executor;
  ionian::Pool* pool;
};
struct CallHandle {
  ExecutorPtr executor;
  CallPtr call;
};
struct GroupHandle {
  ExecutorPtr executor;
  std::shared_ptr<ionian::CallGroup> group;
  std::unordered_map<std::uint64_t, std::weak_ptr<ionian::Call>> calls;  // not taken yet
};

std::chrono::nanoseconds from_seconds(double seconds) {
  return std::chrono::nanoseconds(static_cast<std::int64_t>(std::min(seconds, 1e9) * 1e9));
}

/// max_retries, backoff_coefficient, initial_delay and max_delay in seconds.
using RetryFields = std::tuple<std::uint32_t, double, double, double>;

ionian::RetryPolicy retry_policy(const RetryFields& fields) {
  const auto& [most, coefficient, initial_delay, max_delay] = fields;
  return {most, coefficient, from_seconds(initial_delay), from_seconds(max_delay)};
}

TimePoint deadline_after(const std::optional<double>& seconds) {
  if (!seconds || *seconds > 1e9) return TimePoint::max();
  return Clock::now() + from_seconds(std::max(*seconds, 0.0));
}

/// Waits in slices, looking for signals between them: Ctrl-C raises KeyboardInterrupt here.
bool wait_interruptibly(Executor& executor, const ionian::Waitable& target, TimePoint deadline) {
  for (;;) {
    bool ready = false;
    {
      const py::gil_scoped_release release;
      ready = executor.wait(target, std::min(deadline, Clock::now() + kSlice));
    }
    if (ready) return true;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (Clock::now() >= deadline) return false;
  }
}

py::tuple result_of(const ionian::Call& call) {
  if (call.failure) std::rethrow_exception(call.failure);
  if (!call.reply) throw ionian::ExecutionError("[call] it is not done: wait() first");
  auto [head, buffers] = as_python(*call.reply);
  return py::make_tuple(call.reply->code, std::move(head), std::move(buffers));
}

CallPtr submit(const PoolHandle& self, const BorrowedPayload& payload,
               std::shared_ptr<ionian::CallGroup> group, std::uint64_t tag, bool borrow) {
  if (payload.size() < kCopyWithGil) {
    return self.executor->submit(self.pool, payload.payload(), std::move(group), tag, borrow);
  }
  const py::gil_scoped_release release;
  return self.executor->submit(self.pool, payload.payload(), std::move(group), tag, borrow);
}

py::tuple call(const PoolHandle& self, const py::bytes& head, const py::object& buffers) {
  const BorrowedPayload payload(head, buffers);
  const CallPtr made = submit(self, payload, nullptr, 0, true);
  try {
    if (!self.executor->wait(*made, Clock::now() + kHoldGil)) {
      wait_interruptibly(*self.executor, *made, TimePoint::max());
    }
  } catch (...) {
    self.executor->cancel(made, false);
    throw;
  }
  return result_of(*made);
}

std::vector<CallPtr> take(GroupHandle& self, std::size_t limit,
                          const std::optional<double>& timeout) {
  std::vector<CallPtr> taken = self.executor->take(*self.group, limit);
  const bool wait = taken.empty() && !(timeout && *timeout <= 0);
  const TimePoint deadline = deadline_after(timeout);
  while (wait && taken.empty() && wait_interruptibly(*self.executor, *self.group, deadline)) {
    taken = self.executor->take(*self.group, limit);
  }
  for (const auto& call : taken) self.calls.erase(call->id);
  return taken;
}

const char* name_of(ionian::ExecutorEvent::Kind kind) {
  switch (kind) {
    case ionian::ExecutorEvent::Kind::kStdout:
      return "stdout";
    case ionian::ExecutorEvent::Kind::kStderr:
      return "stderr";
    case ionian::ExecutorEvent::Kind::kNotice:
      return "notice";
    default:
      return "warning";
  }
}

void bind_executor(py::module_& m) {
  py::class_<Executor, ExecutorPtr>(m, "Executor",
                                    "One run: a guardian process, its launchers and workers.")
      .def(py::init([](std::string guardian, std::string app, std::optional<std::string> simulate,
                       std::string match, std::string lock_dir, std::vector<std::string> held,
                       std::vector<std::string> callers) {
             const py::gil_scoped_release release;
             return std::make_shared<Executor>(ionian::ExecutorOptions{
                 std::move(guardian), std::move(app), std::move(simulate), std::move(match),
                 std::move(lock_dir), std::move(held), std::move(callers)});
           }),
           py::kw_only(), py::arg("guardian"), py::arg("app"), py::arg("simulate") = py::none(),
           py::arg("match") = "upgrade", py::arg("lock_dir") = "",
           py::arg("held_by_ancestors") = std::vector<std::string>{},
           py::arg("callers") = std::vector<std::string>{}, "Starts the guardian.")
      .def_property_readonly("run_id", &Executor::run_id)
      .def_property_readonly("inventory",
                             [](Executor& self) {
                               const py::gil_scoped_release release;
                               return ionian::Inventory(self.inventory());
                             })
      .def(
          "start_launcher",
          [](Executor& self, std::vector<std::string> argv, std::vector<std::string> env,
             std::string cwd, const py::bytes& setup) {
            return self.start_launcher(
                {std::move(argv), std::move(env), std::move(cwd), std::string(setup)});
          },
          py::kw_only(), py::arg("argv"), py::arg("env"), py::arg("cwd"), py::arg("setup"),
          "Begins to import the user's module in the background.")
      .def(
          "create_pool",
          [](const ExecutorPtr& self, std::uint32_t launcher, std::string name,
             std::optional<ionian::GpuRequest> gpu, const py::bytes& setup,
             std::size_t min_containers, std::size_t max_containers, std::size_t buffer_containers,
             double scaledown_window, double timeout, double startup_timeout, double lease_timeout,
             double grace, const RetryFields& retries, bool single_use) {
            ionian::PoolOptions options;
            options.launcher = launcher;
            options.name = std::move(name);
            options.gpu = std::move(gpu);
            options.setup = std::string(setup);
            options.min_containers = min_containers;
            options.max_containers = max_containers;
            options.buffer_containers = buffer_containers;
            options.scaledown_window = from_seconds(scaledown_window);
            options.timeout = from_seconds(timeout);
            options.lease_timeout = from_seconds(lease_timeout);
            options.startup_timeout = from_seconds(startup_timeout);
            options.grace = from_seconds(grace);
            options.retries = retry_policy(retries);
            options.single_use = single_use;
            const py::gil_scoped_release release;
            return PoolHandle{self, self->create_pool(std::move(options))};
          },
          py::kw_only(), py::arg("launcher"), py::arg("name"), py::arg("gpu"), py::arg("setup"),
          py::arg("min_containers") = 0, py::arg("max_containers") = 0,
          py::arg("buffer_containers") = 0, py::arg("scaledown_window") = 60.0,
          py::arg("timeout") = 0.0, py::arg("startup_timeout") = 0.0,
          py::arg("lease_timeout") = 0.0, py::arg("grace") = 5.0,
          py::arg("retries") = RetryFields(0, 1.0, 0.0, 0.0), py::arg("single_use") = false,
          "`retries`: most of them, coefficient, first delay, longest delay. Raises "
          "UnsatisfiableError, LeaseDeadlockError.")
      .def(
          "next_event",
          [](Executor& self) -> std::optional<ionian::ExecutorEvent> {
            const py::gil_scoped_release release;
            for (bool closed = false; !closed;) {
              auto event = self.next_event(Clock::now() + std::chrono::hours(1), closed);
              if (event) return event;
            }
            return std::nullopt;
          },
          "Blocks, without the GIL, for what a person should see; None once the executor is "
          "closed.")
      .def("stop", &Executor::stop, py::call_guard<py::gil_scoped_release>(),
           "Kills every worker at once.")
      .def(
          "close",
          [](Executor& self, double grace) {
            self.close(std::chrono::duration_cast<std::chrono::milliseconds>(from_seconds(grace)));
          },
          py::arg("grace") = 5.0, py::call_guard<py::gil_scoped_release>(),
          "Ends the run: workers get SIGTERM, after `grace` seconds SIGKILL. Idempotent.");
  py::class_<ionian::ExecutorEvent>(m, "Event")
      .def_property_readonly("kind",
                             [](const ionian::ExecutorEvent& self) { return name_of(self.kind); })
      .def_readonly("worker", &ionian::ExecutorEvent::worker)
      .def_readonly("pool", &ionian::ExecutorEvent::pool)
      .def_property_readonly(
          "text", [](const ionian::ExecutorEvent& self) { return py::bytes(self.text); });
}

void bind_calls(py::module_& m) {
  py::class_<PoolHandle>(m, "Pool", "Warm workers of one function.")
      .def("call", &call, py::arg("head"), py::arg("buffers").none(true),
           "Submit and wait: the fast path of .remote(). KeyboardInterrupt cancels the call.")
      .def(
          "submit",
          [](const PoolHandle& self, const py::bytes& head, const py::object& buffers,
             GroupHandle* group, std::uint64_t tag) {
            const BorrowedPayload payload(head, buffers);
            CallHandle made{
                self.executor,
                submit(self, payload, group == nullptr ? nullptr : group->group, tag, false)};
            if (group != nullptr) group->calls.emplace(made.call->id, made.call);
            return made;
          },
          py::arg("head"), py::arg("buffers").none(true), py::arg("group").none(true) = py::none(),
          py::arg("tag") = 0,
          "Returns at once; the contents of `buffers` are copied before it does.")
      .def_property_readonly(
          "workers", [](const PoolHandle& self) { return self.executor->workers(self.pool); })
      .def_property_readonly(
          "queued", [](const PoolHandle& self) { return self.executor->queued(self.pool); });
  py::class_<CallHandle>(m, "Call")
      .def_property_readonly("id", [](const CallHandle& self) { return self.call->id; })
      .def_property_readonly("tag", [](const CallHandle& self) { return self.call->tag; })
      .def_property_readonly("done",
                             [](const CallHandle& self) {
                               const py::gil_scoped_release release;
                               return self.executor->wait(*self.call, TimePoint::min());
                             })
      .def(
          "wait",
          [](const CallHandle& self, const std::optional<double>& timeout) {
            return wait_interruptibly(*self.executor, *self.call, deadline_after(timeout));
          },
          py::arg("timeout") = py::none(), "Returns whether it is done. Ctrl-C interrupts it.")
      .def(
          "watch", [](const CallHandle& self, int fd) { self.executor->watch(self.call, fd); },
          py::arg("eventfd"), py::call_guard<py::gil_scoped_release>(),
          "Has an eventfd written when the call is done, at once if it is.")
      .def(
          "unwatch", [](const CallHandle& self, int fd) { self.executor->unwatch(self.call, fd); },
          py::arg("eventfd"), py::call_guard<py::gil_scoped_release>(), "Takes that back.")
      .def(
          "result", [](const CallHandle& self) { return result_of(*self.call); },
          "(RETURNED | RAISED, head, buffers) of a call that is done; raises what ended it "
          "otherwise.")
      .def(
          "cancel",
          [](const CallHandle& self, bool terminate) {
            self.executor->cancel(self.call, terminate);
          },
          py::arg("terminate") = false, py::call_guard<py::gil_scoped_release>());
  py::class_<GroupHandle>(m, "CallGroup", "Calls whose completions are taken one by one.")
      .def(py::init([](ExecutorPtr executor, int notify_fd) {
             return GroupHandle{
                 std::move(executor), std::make_shared<ionian::CallGroup>(notify_fd), {}};
           }),
           py::arg("executor"), py::arg("notify_fd") = -1)
      .def_property_readonly("pending", [](const GroupHandle& self) { return self.group->pending; })
      .def(
          "next",
          [](GroupHandle& self, const std::optional<double>& timeout) -> std::optional<CallHandle> {
            auto taken = take(self, 1, timeout);
            if (taken.empty()) return std::nullopt;
            return CallHandle{self.executor, std::move(taken.front())};
          },
          py::arg("timeout") = py::none(),
          "A call that is done, None after `timeout` seconds; 0 never blocks.")
      .def(
          "next_many",
          [](GroupHandle& self, std::size_t limit, const std::optional<double>& timeout) {
            py::list handles;
            for (auto& done : take(self, limit, timeout)) {
              handles.append(CallHandle{self.executor, std::move(done)});
            }
            return handles;
          },
          py::arg("limit"), py::arg("timeout") = py::none())
      .def("cancel", [](GroupHandle& self) {
        std::vector<CallPtr> alive;
        for (const auto& [id, weak] : self.calls) {
          if (CallPtr call = weak.lock()) alive.push_back(std::move(call));
        }
        self.calls.clear();
        self.executor->cancel(alive, false);
      });
  m.attr("RETURNED") = static_cast<std::uint32_t>(ionian::ReplyStatus::kReturned);
  m.attr("RAISED") = static_cast<std::uint32_t>(ionian::ReplyStatus::kRaised);
  m.attr("REFUSED") = static_cast<std::uint32_t>(ionian::ReplyStatus::kRefused);
}

}  // namespace

void bind_exec(py::module_& m) {
  bind_executor(m);
  bind_calls(m);
}
