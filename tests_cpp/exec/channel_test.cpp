#include "exec/channel.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <thread>

#include "ionian/error.hpp"

namespace ionian {
namespace {

std::span<const std::byte> bytes(const std::string& text) { return std::as_bytes(std::span(text)); }
std::string text(std::span<const std::byte> head) {
  return {reinterpret_cast<const char*>(head.data()), head.size()};
}

struct Pair {
  Doorbell doorbell;
  CallerChannel caller;
  WorkerChannel worker{UniqueFd(::dup(caller.memory_fd())), UniqueFd(::dup(doorbell.fd())),
                       UniqueFd(::dup(caller.worker_socket()))};

  Received next() {
    for (;;) {
      if (auto request = worker.next()) return std::move(*request);
    }
  }
  void pass_slabs() {
    bool closed = false;
    for (int i = 0; i < 8; ++i) worker.handle_peer_message(closed);
  }
};

TEST(Channel, Request_ReachesTheWorkerAndItsReplyTheCaller) {
  Pair pair;
  pair.caller.send(7, RequestKind::kCall, {bytes("hello"), {}});
  const Received request = pair.next();
  EXPECT_EQ(request.call, 7U);
  EXPECT_EQ(text(request.head()), "hello");
  pair.worker.started();
  EXPECT_NE(pair.caller.started_ns(), 0U);
  pair.worker.reply(ReplyStatus::kReturned, {bytes("world"), {}});
  const auto reply = pair.caller.receive();
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->call, 7U);
  EXPECT_EQ(text(reply->head()), "world");
  EXPECT_EQ(pair.caller.started_ns(), 0U);
  EXPECT_FALSE(pair.caller.receive());
}

TEST(Channel, Payload_OfEverySizeArrivesWhole) {
  Pair pair;
  for (const std::size_t size :
       {0U, 1U, 75U, 76U, 77U, 4095U, 4096U, 4097U, 65'535U, 65'537U, 3'000'000U}) {
    std::string head(size, 'x');
    for (std::size_t i = 0; i < size; ++i) head[i] = static_cast<char>('a' + i % 26);
    pair.caller.send(1, RequestKind::kCall, {bytes(head), {}});
    pair.pass_slabs();
    EXPECT_EQ(text(pair.next().head()), head) << size;
    pair.worker.reply(ReplyStatus::kReturned, {bytes(head), {}});
    EXPECT_EQ(text(pair.caller.receive()->head()), head) << size;
  }
}

TEST(Channel, Buffers_TravelBesideTheHeadAndAreAligned) {
  Pair pair;
  const std::string a(100, 'a');
  const std::string empty;
  const std::string b(1'000'000, 'b');
  const std::vector<std::span<const std::byte>> buffers{bytes(a), bytes(empty), bytes(b)};
  pair.caller.send(1, RequestKind::kCall, {bytes("head"), buffers});
  pair.pass_slabs();
  const Received request = pair.next();
  EXPECT_EQ(text(request.head()), "head");
  ASSERT_EQ(request.buffers.size(), 3U);
  EXPECT_EQ(text(request.buffers[0]), a);
  EXPECT_EQ(text(request.buffers[1]), empty);
  EXPECT_EQ(text(request.buffers[2]), b);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(request.buffers[2].data()) % 64, 0U);
}

TEST(Channel, Claim_TellsHowFarEachRequestCame) {
  Pair pair;
  const auto first = pair.caller.send(1, RequestKind::kCall, {bytes("1"), {}});
  const auto second = pair.caller.send(2, RequestKind::kCall, {bytes("2"), {}});
  EXPECT_EQ(pair.caller.claim(first), Claim::kQueued);
  pair.next();
  EXPECT_EQ(pair.caller.claim(first), Claim::kTaken);
  pair.worker.started();
  EXPECT_EQ(pair.caller.claim(first), Claim::kStarted);
  EXPECT_EQ(pair.caller.claim(second), Claim::kQueued);
}

TEST(Channel, RevokedRequest_IsNeverTaken_AndATakenOneCannotBeRevoked) {
  Pair pair;
  const auto first = pair.caller.send(1, RequestKind::kCall, {bytes("1"), {}});
  const auto second = pair.caller.send(2, RequestKind::kCall, {bytes("2"), {}});
  pair.caller.send(3, RequestKind::kCall, {bytes("3"), {}});
  EXPECT_EQ(pair.next().call, 1U);
  EXPECT_FALSE(pair.caller.revoke(first));
  EXPECT_TRUE(pair.caller.revoke(second));
  pair.worker.reply(ReplyStatus::kReturned, {});
  EXPECT_EQ(pair.next().call, 3U);
}

TEST(Channel, StoredRequest_CanBeReadBackWhileItIsUnanswered) {
  Pair pair;
  const std::string large(500'000, 'z');
  const std::vector<std::span<const std::byte>> buffers{bytes(large)};
  const auto small = pair.caller.send(1, RequestKind::kCall, {bytes("small"), {}});
  const auto big = pair.caller.send(2, RequestKind::kCall, {bytes("head"), buffers});
  EXPECT_EQ(text(pair.caller.stored(small).head), "small");
  const OwnedPayload stored = pair.caller.stored(big);
  EXPECT_EQ(text(stored.head), "head");
  EXPECT_EQ(text(stored.buffers.at(0)), large);
}

TEST(Channel, FullRing_SaysSo_AndHasRoomAgainAfterAReply) {
  Pair pair;
  std::uint64_t call = 0;
  while (!pair.caller.full()) pair.caller.send(++call, RequestKind::kCall, {});
  EXPECT_EQ(call, channel::kSlots);
  pair.next();
  EXPECT_TRUE(pair.caller.full());
  pair.worker.reply(ReplyStatus::kReturned, {});
  EXPECT_FALSE(pair.caller.full());
}

TEST(Channel, ManyCallsBetweenThreads_ArriveInOrderAndOnce) {
  Pair pair;
  constexpr std::uint64_t kCalls = 100'000;
  std::thread worker([&] {
    for (std::uint64_t i = 1; i <= kCalls; ++i) {
      const Received request = pair.next();
      ASSERT_EQ(request.call, i);
      pair.worker.started();
      const std::string echo = text(request.head());
      pair.worker.reply(ReplyStatus::kReturned, {bytes(echo), {}});
    }
  });
  std::uint64_t sent = 0;
  for (std::uint64_t received = 0; received < kCalls;) {
    while (sent < kCalls && !pair.caller.full() && sent - received < 48) {
      ++sent;
      pair.caller.send(sent, RequestKind::kCall, {bytes(std::to_string(sent)), {}});
    }
    const std::uint32_t seen = pair.doorbell.count();
    bool any = false;
    while (auto reply = pair.caller.receive()) {
      ASSERT_EQ(reply->call, ++received);
      ASSERT_EQ(text(reply->head()), std::to_string(received));
      any = true;
    }
    if (!any && received < kCalls) pair.doorbell.wait(seen, std::chrono::seconds(1));
  }
  worker.join();
}

TEST(Channel, CancelMessage_NamesItsCall) {
  Pair pair;
  bool closed = false;
  EXPECT_EQ(pair.worker.handle_peer_message(closed), 0U);
  pair.caller.cancel(42);
  EXPECT_EQ(pair.worker.handle_peer_message(closed), 42U);
  EXPECT_FALSE(closed);
}

TEST(Channel, UnsealedOrShortMemory_IsRefused) {
  Pair pair;
  const UniqueFd unsealed(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(unsealed.get(), static_cast<off_t>(channel::kBytes)), 0);
  const UniqueFd small = sys::sealed_memory("test", 4096);
  const auto attach = [&](const UniqueFd& memory) {
    WorkerChannel worker(memory.duplicate(), UniqueFd(::dup(pair.doorbell.fd())), UniqueFd());
  };
  EXPECT_THROW(attach(unsealed), ExecutionError);
  EXPECT_THROW(attach(small), ExecutionError);
}

}  // namespace
}  // namespace ionian
