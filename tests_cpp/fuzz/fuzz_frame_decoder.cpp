// The frame decoder: the same bytes, cut differently, are the same frames.
//
// An input is a number of descriptors, a number that seeds the cuts, and the stream.
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "exec/frame.hpp"
#include "fuzz/fuzz.hpp"
#include "ionian/error.hpp"

namespace {

using ionian::FrameDecoder;
using ionian::fuzz::require;

struct Event {
  std::uint16_t type = 0;
  std::string body;
  std::size_t fds = 0;
  bool operator==(const Event&) const = default;
};

struct Stream {
  std::vector<Event> events;
  bool broken = false;
  bool operator==(const Stream&) const = default;
};

/// Gives the stream in pieces of 1 to `longest` bytes, by the numbers of a small generator.
Stream decode(std::string_view bytes, std::size_t fds, std::size_t longest, std::uint32_t seed) {
  FrameDecoder decoder;
  for (std::size_t i = 0; i < fds; ++i) decoder.push(ionian::UniqueFd());
  Stream stream;
  try {
    while (!bytes.empty()) {
      seed = seed * 1664525U + 1013904223U;
      const std::size_t size = std::min(bytes.size(), 1 + (seed >> 16) % longest);
      decoder.push(bytes.substr(0, size));
      bytes.remove_prefix(size);
      while (auto frame = decoder.next()) {
        require(frame->fds.size() <= FrameDecoder::kMaxFds, "no more descriptors than the limit");
        stream.events.push_back({frame->type, std::move(frame->body), frame->fds.size()});
      }
    }
  } catch (const ionian::ExecutionError&) {
    stream.broken = true;
  }
  return stream;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view bytes = ionian::fuzz::as_text(data, size);
  const std::size_t fds = ionian::fuzz::take_byte(bytes) % 20;
  const std::uint32_t seed = ionian::fuzz::take_byte(bytes);
  const Stream whole = decode(bytes, fds, bytes.size() + 1, seed);
  require(decode(bytes, fds, 1, seed) == whole, "byte by byte is the same as at once");
  require(decode(bytes, fds, 40, seed) == whole, "cut anywhere is the same as at once");
  std::string again;
  std::size_t used = 0;
  for (const Event& event : whole.events) {
    again += FrameDecoder::encode(event.type, event.body, event.fds);
    used += event.fds;
  }
  require(used <= fds, "no descriptor is made up");
  require(bytes.substr(0, again.size()) == again, "encode(decode(x)) == x");
  return 0;
}
