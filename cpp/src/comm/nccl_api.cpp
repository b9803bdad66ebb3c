#include "comm/nccl_api.hpp"

#include <type_traits>

#include "base/dynamic_library.hpp"

namespace ionian::nccl {
namespace {

constexpr int kOldest = 21800;

struct Loaded {
  Api api{};
  std::string reason;
};

Loaded load() {
  Loaded loaded;
  const auto library = DynamicLibrary::open("IONIAN_NCCL_LIBRARY", {"libnccl.so.2"});
  if (!library) {
    loaded.reason = library.reason();
    return loaded;
  }
  Api& api = loaded.api;
  api.path = library.path();
  const auto fill = [&](auto*& function, const char* name) {
    function = library.function<std::remove_reference_t<decltype(*function)>>(name);
    if (function == nullptr && loaded.reason.empty())
      loaded.reason = library.path() + " has no " + name + "; NCCL 2.18 or newer is needed";
  };
#define IONIAN_FILL(name) fill(api.name, #name)
  IONIAN_FILL(ncclGetVersion);
  IONIAN_FILL(ncclGetUniqueId);
  IONIAN_FILL(ncclCommInitRank);
  IONIAN_FILL(ncclCommDestroy);
  IONIAN_FILL(ncclCommAbort);
  IONIAN_FILL(ncclCommSplit);
  IONIAN_FILL(ncclCommCount);
  IONIAN_FILL(ncclCommUserRank);
  IONIAN_FILL(ncclCommGetAsyncError);
  IONIAN_FILL(ncclAllReduce);
  IONIAN_FILL(ncclReduce);
  IONIAN_FILL(ncclBroadcast);
  IONIAN_FILL(ncclAllGather);
  IONIAN_FILL(ncclReduceScatter);
  IONIAN_FILL(ncclSend);
  IONIAN_FILL(ncclRecv);
  IONIAN_FILL(ncclGroupStart);
  IONIAN_FILL(ncclGroupEnd);
  IONIAN_FILL(ncclGetErrorString);
  IONIAN_FILL(ncclGetLastError);
#undef IONIAN_FILL
  if (!loaded.reason.empty()) return loaded;
  if (api.ncclGetVersion(&api.version) != kSuccess || api.version < kOldest)
    loaded.reason =
        library.path() + " is NCCL " + std::to_string(api.version) + "; 2.18 or newer is needed";
  return loaded;
}

const Loaded& loaded() {
  static const Loaded once = load();
  return once;
}

}  // namespace

const Api* find() { return loaded().reason.empty() ? &loaded().api : nullptr; }

const std::string& reason() { return loaded().reason; }

const Api& api() {
  if (const Api* found = find()) return *found;
  throw NotFoundError(
      "[communicator] no NCCL: " + reason() +
      "\nnext: pip install nvidia-nccl-cu13, or set IONIAN_NCCL_LIBRARY to its file");
}

}  // namespace ionian::nccl
