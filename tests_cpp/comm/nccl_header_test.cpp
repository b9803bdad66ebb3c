// Compares our declarations of NCCL with the real header where there is one.
#include <gtest/gtest.h>

#include <type_traits>

#include "comm/nccl_api.hpp"

#if __has_include(<nccl.h>) && __has_include(<cuda_runtime_api.h>)
#include <nccl.h>

namespace ionian::nccl {
namespace {

template <class A, class B>
constexpr bool kAlike = sizeof(A) == sizeof(B) && std::is_pointer_v<A> == std::is_pointer_v<B>;
template <class Ours, class Theirs>
struct SameCall : std::false_type {};
template <class R, class... Ours, class S, class... Theirs>
struct SameCall<R (*)(Ours...), S(Theirs...)> {
  static constexpr bool value = [] {
    if constexpr (sizeof...(Ours) != sizeof...(Theirs)) {
      return false;
    } else {
      return kAlike<R, S> && (kAlike<Ours, Theirs> && ...);
    }
  }();
};

#define SAME(name) static_assert(SameCall<decltype(Api::name), decltype(::name)>::value, #name)
SAME(ncclGetVersion);
SAME(ncclGetUniqueId);
SAME(ncclCommInitRank);
SAME(ncclCommDestroy);
SAME(ncclCommAbort);
SAME(ncclCommSplit);
SAME(ncclCommCount);
SAME(ncclCommUserRank);
SAME(ncclCommGetAsyncError);
SAME(ncclAllReduce);
SAME(ncclReduce);
SAME(ncclBroadcast);
SAME(ncclAllGather);
SAME(ncclReduceScatter);
SAME(ncclSend);
SAME(ncclRecv);
SAME(ncclGroupStart);
SAME(ncclGroupEnd);
SAME(ncclGetErrorString);
SAME(ncclGetLastError);
#undef SAME
static_assert(sizeof(UniqueId) == sizeof(ncclUniqueId));
static_assert(kSuccess == ncclSuccess && kRemoteError == ncclRemoteError);
static_assert(kInProgress == ncclInProgress && kNoColor == NCCL_SPLIT_NOCOLOR);
static_assert(ncclSum == 0 && ncclProd == 1 && ncclMax == 2 && ncclMin == 3 && ncclAvg == 4);
static_assert(ncclInt8 == 0 && ncclUint8 == 1 && ncclInt32 == 2 && ncclUint32 == 3);
static_assert(ncclInt64 == 4 && ncclUint64 == 5 && ncclFloat16 == 6 && ncclFloat32 == 7);
static_assert(ncclFloat64 == 8 && ncclBfloat16 == 9);
#if NCCL_VERSION_CODE >= 22400
static_assert(ncclFloat8e4m3 == 10 && ncclFloat8e5m2 == 11);
#endif

TEST(NcclHeader, AgreesWithOurDeclarations) { SUCCEED() << "checked when this was compiled"; }

}  // namespace
}  // namespace ionian::nccl
#else
TEST(NcclHeader, AgreesWithOurDeclarations) { GTEST_SKIP() << "nccl.h is not installed here"; }
#endif
