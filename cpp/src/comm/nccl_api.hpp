// nccl_api.hpp: NCCL, found at run time: the few types and calls that ionian uses, from NCCL 2.18
// on. A test compares every declaration with nccl.h where there is one.
#pragma once

#include <climits>
#include <cstddef>
#include <string>

#include "cuda/driver.hpp"

extern "C" {
struct ncclComm;
}

namespace ionian::nccl {

using Comm = ncclComm*;
inline constexpr std::size_t kIdBytes = 128;
struct UniqueId {
  char internal[kIdBytes];  // NOLINT: NCCL's own
};

// ncclResult_t
inline constexpr int kSuccess = 0;
inline constexpr int kRemoteError = 6;
inline constexpr int kInProgress = 7;

inline constexpr int kNoColor = -1;  // NCCL_SPLIT_NOCOLOR

/// The calls, by their own names. Enumerations are ints.
struct Api {
  int (*ncclGetVersion)(int*);
  int (*ncclGetUniqueId)(UniqueId*);
  int (*ncclCommInitRank)(Comm*, int, UniqueId, int);
  int (*ncclCommDestroy)(Comm);
  int (*ncclCommAbort)(Comm);
  int (*ncclCommSplit)(Comm, int, int, Comm*, void*);
  int (*ncclCommCount)(Comm, int*);
  int (*ncclCommUserRank)(Comm, int*);
  int (*ncclCommGetAsyncError)(Comm, int*);
  int (*ncclAllReduce)(const void*, void*, std::size_t, int, int, Comm, cuda::StreamHandle);
  int (*ncclReduce)(const void*, void*, std::size_t, int, int, int, Comm, cuda::StreamHandle);
  int (*ncclBroadcast)(const void*, void*, std::size_t, int, int, Comm, cuda::StreamHandle);
  int (*ncclAllGather)(const void*, void*, std::size_t, int, Comm, cuda::StreamHandle);
  int (*ncclReduceScatter)(const void*, void*, std::size_t, int, int, Comm, cuda::StreamHandle);
  int (*ncclSend)(const void*, std::size_t, int, int, Comm, cuda::StreamHandle);
  int (*ncclRecv)(void*, std::size_t, int, int, Comm, cuda::StreamHandle);
  int (*ncclGroupStart)();
  int (*ncclGroupEnd)();
  const char* (*ncclGetErrorString)(int);
  const char* (*ncclGetLastError)(Comm);

  int version = 0;   // 22809 is 2.28.9
  std::string path;  // of the file that was loaded
};

/// Returns NCCL, nullptr if there is none: `reason()` says why. Looks at IONIAN_NCCL_LIBRARY, then
/// at what the process has loaded already (torch's), then for libnccl.so.2. Thread-safe.
const Api* find();
const std::string& reason();
/// Returns NCCL. Throws NotFoundError with the reason.
const Api& api();

}  // namespace ionian::nccl
