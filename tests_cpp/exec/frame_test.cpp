#include "exec/frame.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <random>

#include "base/syscall.hpp"
#include "exec/message.hpp"
#include "ionian/error.hpp"

namespace ionian {
namespace {

TEST(FrameDecoder, SameBytesCutAnywhere_GiveTheSameFrames) {
  std::string stream;
  for (const std::size_t size : {0U, 1U, 11U, 12U, 13U, 5000U}) {
    stream += FrameDecoder::encode(static_cast<std::uint16_t>(size), std::string(size, 'b'), 0);
  }
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    FrameDecoder decoder;
    std::vector<std::uint16_t> types;
    for (std::size_t at = 0; at < stream.size();) {
      const std::size_t size = std::min<std::size_t>(1 + random() % 700, stream.size() - at);
      decoder.push(std::string_view(stream).substr(at, size));
      at += size;
      while (auto frame = decoder.next()) {
        EXPECT_EQ(frame->body.size(), frame->type);
        types.push_back(frame->type);
      }
    }
    EXPECT_EQ(types, (std::vector<std::uint16_t>{0, 1, 11, 12, 13, 5000}));
  }
}

TEST(FrameDecoder, TruncatedFrame_IsNeverAFrame) {
  const std::string whole = FrameDecoder::encode(3, "body", 0);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    FrameDecoder decoder;
    decoder.push(std::string_view(whole).substr(0, size));
    EXPECT_FALSE(decoder.next()) << size;
  }
}

TEST(FrameDecoder, BitFlipInTheHeader_NeverAllocatesWhatItAnnounces) {
  const std::string whole = FrameDecoder::encode(3, "body", 0);
  for (std::size_t bit = 0; bit < FrameDecoder::kHeaderBytes * 8; ++bit) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    FrameDecoder decoder;
    decoder.push(flipped);
    try {
      static_cast<void>(decoder.next());
    } catch (const ExecutionError&) {
      SUCCEED();
    }
  }
}

TEST(FrameDecoder, OversizedOrForeignHeader_IsRefused) {
  std::string huge = FrameDecoder::encode(1, "", 0);
  huge[11] = '\x7f';
  for (const std::string& bytes :
       {huge, std::string("GET / HTTP/1.1\r\n"), FrameDecoder::encode(1, "", 1)}) {
    FrameDecoder decoder;
    decoder.push(bytes);
    EXPECT_THROW(static_cast<void>(decoder.next()), ExecutionError);
  }
}

TEST(FrameDecoder, FrameOverTheLimits_IsRefusedOnBothSides) {
  const std::size_t most = FrameDecoder::kMaxFds;
  EXPECT_NO_THROW(FrameDecoder::encode(1, "", most));
  EXPECT_THROW(FrameDecoder::encode(1, "", most + 1), ExecutionError);
  EXPECT_THROW(FrameDecoder::encode(1, std::string(FrameDecoder::kMaxBody + 1U, 'x'), 0),
               ExecutionError);
  std::string announced = FrameDecoder::encode(1, "", most);
  ++announced[6];
  FrameDecoder decoder;
  decoder.push(announced);
  EXPECT_THROW(static_cast<void>(decoder.next()), ExecutionError);
}

TEST(FrameDecoder, FrameWhoseDescriptorsDidNotAllArrive_HasNone_AndTheNextHasItsOwn) {
  FrameDecoder decoder;
  decoder.push(UniqueFd(::dup(STDERR_FILENO)));
  decoder.lose_fds();
  decoder.push(FrameDecoder::encode(1, "order", 3));
  decoder.push(UniqueFd(::dup(STDERR_FILENO)));
  decoder.push(FrameDecoder::encode(2, "next", 1));
  const auto order = decoder.next();
  ASSERT_TRUE(order);
  EXPECT_EQ(order->body, "order");
  EXPECT_TRUE(order->fds.empty());
  const auto next = decoder.next();
  ASSERT_TRUE(next);
  ASSERT_EQ(next->fds.size(), 1U);
  EXPECT_TRUE(next->fds[0]);
}

TEST(FrameDecoder, ManyFramesAtOnce_AreGivenOneByOne) {
  std::string stream;
  for (int i = 0; i < 3; ++i)
    stream += FrameDecoder::encode(1, std::string(1 << 20, static_cast<char>('a' + i)), 0);
  FrameDecoder decoder;
  decoder.push(stream);  // what has been given is let go before the end is there
  for (const char letter : {'a', 'b', 'c'}) EXPECT_EQ(decoder.next()->body[0], letter);
  EXPECT_FALSE(decoder.next());
}

TEST(FrameSocket, ThatIsClosed_SendsNothingAndIsNoError) {
  auto [a, b] = sys::socket_pair();
  FrameSocket socket(std::move(a));
  socket.close();
  socket.send(1, "nobody");
  EXPECT_EQ(socket.unsent(), 0U);
  FrameSocket other(std::move(b));
  EXPECT_FALSE(other.receive());
}

TEST(FrameSocket, DescriptorThatIsNone_IsAnErrorAndNothingIsSent) {
  auto [a, b] = sys::socket_pair();
  FrameSocket sender(std::move(a));
  EXPECT_THROW(sender.send(1, "x", {-1}), SystemError);
  EXPECT_EQ(sender.unsent(), 0U);
  FrameSocket receiver(std::move(b));
  EXPECT_TRUE(receiver.receive());
  EXPECT_FALSE(receiver.next());
}

TEST(FrameSocket, MessageWithDescriptors_ArrivesWithThemInOrder) {
  auto [a, b] = sys::socket_pair();
  FrameSocket sender(std::move(a));
  FrameSocket receiver(std::move(b));
  auto [read_end, write_end] = sys::pipe();
  sender.send(1, "first", {write_end.get()});
  sender.send(2, std::string(3'000'000, 'x'), {read_end.get(), write_end.get()});
  std::vector<Frame> frames;
  while (frames.size() < 2) {
    ASSERT_TRUE(sender.flush());
    ASSERT_TRUE(receiver.receive());
    while (auto frame = receiver.next()) frames.push_back(std::move(*frame));
  }
  EXPECT_EQ(frames[0].fds.size(), 1U);
  ASSERT_EQ(frames[1].fds.size(), 2U);
  EXPECT_EQ(frames[1].body.size(), 3'000'000U);
  ASSERT_EQ(::write(frames[0].fds[0].get(), "!", 1), 1);
  char byte = 0;
  ASSERT_EQ(::read(frames[1].fds[0].get(), &byte, 1), 1);
  EXPECT_EQ(byte, '!');
}

TEST(FrameSocket, PeerGone_IsTheEndOfTheStreamAndNoSignal) {
  auto [a, b] = sys::socket_pair();
  FrameSocket socket(std::move(a));
  b.reset();
  socket.send(1, "nobody reads this");
  EXPECT_FALSE(socket.receive());
}

TEST(Message, EveryField_SurvivesTheWire) {
  auto [a, b] = sys::socket_pair();
  FrameSocket sender(std::move(a));
  FrameSocket receiver(std::move(b));
  message::Hello hello;
  hello.run = "run";
  hello.has_simulate = true;
  hello.simulate = "A10G:2";
  hello.caller_pid = -5;
  hello.held_by_ancestors = {"GPU-1", ""};
  message::send(sender, hello);
  ASSERT_TRUE(receiver.receive());
  const auto got = message::parse<message::Hello>(*receiver.next());
  EXPECT_EQ(got.version, message::kProtocolVersion);
  EXPECT_EQ(got.run, "run");
  EXPECT_TRUE(got.has_simulate);
  EXPECT_EQ(got.simulate, "A10G:2");
  EXPECT_EQ(got.caller_pid, -5);
  EXPECT_EQ(got.held_by_ancestors, (std::vector<std::string>{"GPU-1", ""}));
}

TEST(Message, EveryTruncation_IsRefused) {
  message::detail::Encoder encoder;
  message::StartWorker order{1, 2, 3, {"H100:2", "any"}, "f"};
  order.visit(encoder);
  const std::string body = encoder.writer.take();
  for (std::size_t size = 0; size < body.size(); ++size) {
    Frame frame;
    frame.body = body.substr(0, size);
    EXPECT_THROW(message::parse<message::StartWorker>(frame), ExecutionError) << size;
  }
  Frame longer;
  longer.body = body + "x";
  EXPECT_THROW(message::parse<message::StartWorker>(longer), ExecutionError);
}

template <class Message>
Message through_the_wire(Message message) {
  message::detail::Encoder encoder;
  message.visit(encoder);
  Frame frame;
  frame.body = encoder.writer.take();
  return message::parse<Message>(frame);
}

TEST(Message, WhoStoppedTheRun_SurvivesTheWire) {
  EXPECT_EQ(through_the_wire(message::Stopped{"by ada"}).text, "by ada");
}

TEST(Message, ListsThatDoNotMatch_AreRefused) {
  using message::Leased;
  using message::Wanted;
  for (const Leased& leased : {Leased{1, {"GPU-1", "GPU-2"}, {"A10G"}}, Leased{1, {"GPU-1"}, {}},
                               Leased{1, {}, {"A10G"}}}) {
    EXPECT_THROW(through_the_wire(leased), ExecutionError) << leased.types.size();
  }
  EXPECT_EQ(through_the_wire(Leased{1, {"GPU-1"}, {"A10G"}}).types[0], "A10G");
  for (const Wanted& wanted : {Wanted{{1, 1}, {1}, {"GPU-1"}}, Wanted{{}, {1}, {"GPU-1"}},
                               Wanted{{1}, {2}, {"GPU-1"}}, Wanted{{1}, {0}, {"GPU-1"}},
                               // Together as many as there are, in 32 bits.
                               Wanted{{1, 1}, {0xffffffff, 2}, {"GPU-1"}}}) {
    EXPECT_THROW(through_the_wire(wanted), ExecutionError)
        << wanted.counts.size() << ' ' << wanted.sizes.size() << ' ' << wanted.uuids.size();
  }
  EXPECT_EQ(through_the_wire(Wanted{{1, 1}, {2, 0}, {"GPU-1", "GPU-2"}}).uuids.size(), 2U);
}

}  // namespace
}  // namespace ionian
