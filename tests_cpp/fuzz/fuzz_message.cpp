// The bodies of control messages: each is refused, or says exactly what its bytes say.
//
// An input is the message's type and its body.
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "exec/message.hpp"
#include "fuzz/fuzz.hpp"
#include "ionian/error.hpp"

namespace {

using namespace ionian::message;
using ionian::fuzz::require;

using All = std::tuple<Hello, StartLauncher, StartWorker, StopWorker, ReleaseWorker, Shutdown,
                       LauncherReady, LauncherFailed, Waiting, Leased, LeaseFailed, Forked, Exited,
                       Output, Wanted, Setup, Fork, Ready, Failed, GpuNotice, Stopped>;

template <class Message>
void check(const ionian::Frame& frame) {
  Message message;
  try {
    message = parse<Message>(frame);
  } catch (const ionian::ExecutionError&) {
    return;
  }
  detail::Encoder encoder;
  message.visit(encoder);
  require(encoder.writer.take() == frame.body, "encode(decode(x)) == x");
}

template <std::size_t... Index>
void check_nth(std::size_t n, const ionian::Frame& frame, std::index_sequence<Index...>) {
  ((n == Index ? check<std::tuple_element_t<Index, All>>(frame) : void()), ...);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view bytes = ionian::fuzz::as_text(data, size);
  constexpr std::size_t count = std::tuple_size_v<All>;
  const std::size_t which = ionian::fuzz::take_byte(bytes) % count;
  ionian::Frame frame;
  frame.body = std::string(bytes);
  check_nth(which, frame, std::make_index_sequence<count>());
  return 0;
}
