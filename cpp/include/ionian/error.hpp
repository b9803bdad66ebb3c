// error.hpp: every failure of ionian as one typed exception under one root.
//
// Each class has the same name in Python (`ionian.exception`), where it also derives from the
// natural builtin. The message has an origin, what was received, what was expected and the next
// step; its first line stays under 200 characters. Objects are immutable after construction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace ionian {

/// Root of everything that ionian throws.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  /// Returns the class's own name, the one Python knows it by, e.g. "UnsatisfiableError".
  [[nodiscard]] virtual const char* kind() const noexcept { return "Error"; }
};

/// Declares an error class that adds nothing but its name.
// NOLINTBEGIN(bugprone-macro-parentheses): names cannot be in parentheses
#define IONIAN_ERROR(Name, Base)                                 \
  class Name : public Base {                                     \
   public:                                                       \
    using Base::Base;                                            \
    const char* kind() const noexcept override { return #Name; } \
  }
// NOLINTEND(bugprone-macro-parentheses)

IONIAN_ERROR(InvalidError, Error);                 // a bad argument
IONIAN_ERROR(UnsatisfiableError, InvalidError);    // can never run on this machine
IONIAN_ERROR(ExecutionError, Error);               // wrong use: closed, used after fork, ...
IONIAN_ERROR(LeaseDeadlockError, ExecutionError);  // would wait for a GPU of its own ancestor call
IONIAN_ERROR(TimeoutError, Error);
IONIAN_ERROR(FunctionTimeoutError, TimeoutError);  // the body ran longer than timeout=
IONIAN_ERROR(LeaseTimeoutError, TimeoutError);     // waited longer than allowed for GPUs
IONIAN_ERROR(RemoteError, Error);                  // the far side failed
IONIAN_ERROR(SerializationError, Error);
IONIAN_ERROR(DeserializationError, Error);
IONIAN_ERROR(ResourceExhaustedError, Error);  // memory, descriptors, processes
IONIAN_ERROR(NotFoundError, Error);
IONIAN_ERROR(PermissionDeniedError, Error);
IONIAN_ERROR(ConnectionError, Error);  // the guardian is gone
IONIAN_ERROR(VersionError, Error);
IONIAN_ERROR(InternalError, Error);  // our own bug

/// A GPU request that is not one. `position` is the byte offset of the fault in `text`.
class GpuRequestError : public InvalidError {
 public:
  GpuRequestError(const std::string& message, std::string text_, std::size_t position_,
                  std::string suggestion_)
      : InvalidError(message),
        text(std::move(text_)),
        position(position_),
        suggestion(std::move(suggestion_)) {}
  const char* kind() const noexcept override { return "GpuRequestError"; }

  const std::string text;
  const std::size_t position;
  const std::string suggestion;  // nearest valid spelling, "" if there is none
};

/// How a GPU failed.
struct GpuFault {
  std::string uuid;
  std::string gpu;        // "H100 GPU-…"
  std::uint32_t xid = 0;  // 0: the driver gave no number
  std::string text;       // one phrase: "Xid 79: GPU has fallen off the bus"
  std::string action;     // what a person should do
};

/// A GPU failed while a call ran on it. The GPU is quarantined.
class GpuUnhealthyError : public RemoteError {
 public:
  GpuUnhealthyError(const std::string& message, GpuFault fault_)
      : RemoteError(message), fault(std::move(fault_)) {}
  const char* kind() const noexcept override { return "GpuUnhealthyError"; }
  const GpuFault fault;
};

/// How a worker process ended, as far as there is evidence.
struct WorkerDeath {
  std::string pool;               // the function's name
  std::int64_t pid = 0;           // 0 if it never had one
  int signal = 0;                 // that killed it, 0 if none
  int exit_code = -1;             // with which it left, -1 if it did not
  bool started = false;           // the body of the function had been entered
  std::string cause;              // one phrase: "killed by SIGSEGV (signal 11)"
  std::vector<std::string> gpus;  // "A10G GPU-…"
  std::string log_tail;           // the last lines it wrote
};

/// A worker ended while a call was its. Its message says all of `death`.
class WorkerDiedError : public RemoteError {
 public:
  WorkerDiedError(const std::string& message, WorkerDeath death_)
      : RemoteError(message), death(std::move(death_)) {}
  const char* kind() const noexcept override { return "WorkerDiedError"; }
  const WorkerDeath death;
};

IONIAN_ERROR(WorkerOutOfMemoryError, WorkerDiedError);  // the kernel's counter says so
IONIAN_ERROR(WorkerStartError, WorkerDiedError);        // ended before it was ready
IONIAN_ERROR(CrashLoopError, WorkerDiedError);          // one after the other did

/// A system call failed. `code` is errno.
class SystemError : public Error {
 public:
  SystemError(const std::string& message, int code_) : Error(message), code(code_) {}
  const char* kind() const noexcept override { return "SystemError"; }
  const int code;
};

/// CUDA, or a library on top of it, refused. `code` is that library's own.
class CudaError : public Error {
 public:
  CudaError(const std::string& message, int code_) : Error(message), code(code_) {}
  const char* kind() const noexcept override { return "CudaError"; }
  const int code;
};

/// Throws the error class that fits errno `code`: ResourceExhaustedError for EMFILE, ENFILE,
/// ENOMEM, ENOSPC, EAGAIN and EDQUOT, PermissionDeniedError for EACCES and EPERM, else SystemError.
/// `what` says what was tried, e.g. "open /dev/shm/x".
[[noreturn]] void throw_errno(const std::string& what, int code);

}  // namespace ionian
