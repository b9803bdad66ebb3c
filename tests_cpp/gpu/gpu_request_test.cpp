#include "ionian/gpu_request.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ionian/error.hpp"

namespace ionian {
namespace {

using namespace std::string_literals;

struct Valid {
  std::string text;
  std::string canonical;
};

TEST(GpuRequest, AcceptsEverySpellingOfTheGrammarAndPrintsTheCanonicalOne) {
  const std::string uuid = "01234567-89ab-cdef-0123-456789abcdef";
  const std::vector<Valid> cases{
      {"H100", "H100"},
      {"h100", "H100"},
      {"H100:1", "H100"},
      {"H100:8", "H100:8"},
      {"H100:9", "H100:9"},  // more than the service has: the machine decides
      {"H100:2147483647", "H100:2147483647"},
      {"A100-80GB:2", "A100-80GB:2"},
      {"a100-40gb", "A100-40GB"},
      {"A100", "A100"},
      {"any", "any"},
      {"ANY:4", "any:4"},
      {"RTX4090:2", "RTX4090:2"},
      {"rtx-4090", "RTX4090"},
      {"RTX4070-TI-SUPER", "RTX4070-TI-SUPER"},
      {"rtx4070tisuper", "RTX4070-TI-SUPER"},
      {"L40S", "L40S"},
      {"GB200:4", "GB200:4"},
      {"a10", "A10G"},
      {"A10G:5", "A10G:5"},
      {"rtx-pro-6000", "RTX-PRO-6000"},
      {"H100!:1", "H100!"},
      {"h100!:4", "H100!:4"},
      {"B200+", "B200+"},
      {"b200+:2", "B200+:2"},
      {"40GB", "40GB"},
      {"80gb:2", "80GB:2"},
      {"24GB!", "24GB!"},
      {"24GB+", "24GB+"},
      {"GPU-" + uuid, "GPU-" + uuid},
      {"gpu-01234567-89AB-CDEF-0123-456789ABCDEF:1", "GPU-" + uuid},
      {"MIG-" + uuid, "MIG-" + uuid},
  };
  for (const auto& each : cases) {
    EXPECT_EQ(GpuRequest::parse(each.text).to_string(), each.canonical) << each.text;
  }
}

TEST(GpuRequest, SaysWhatItRead) {
  const auto item = GpuRequest::parse("a10:3").alternatives().front();
  EXPECT_EQ(item.kind, GpuRequestItem::Kind::kModel);
  EXPECT_EQ(item.type, "A10G");
  EXPECT_EQ(item.binding, GpuRequestItem::Binding::kDefault);
  EXPECT_EQ(item.count, 3);
  const auto memory = GpuRequest::parse("40gb").alternatives().front();
  EXPECT_EQ(memory.kind, GpuRequestItem::Kind::kMemory);
  EXPECT_EQ(memory.memory_gb, 40U);
  EXPECT_EQ(GpuRequest::parse("any").alternatives().front().kind, GpuRequestItem::Kind::kAny);
}

struct Rejected {
  std::string text;
  std::size_t position;
  std::string suggestion;
};

std::ostream& operator<<(std::ostream& out, const Rejected& each) {
  return out << each.text.substr(0, 40);
}

class GpuRequestRejects : public ::testing::TestWithParam<Rejected> {};

TEST_P(GpuRequestRejects, WithPositionSuggestionAndAShortFirstLine) {
  const auto& [text, position, suggestion] = GetParam();
  try {
    GpuRequest::parse(text);
    FAIL() << "accepted";
  } catch (const GpuRequestError& error) {
    EXPECT_EQ(error.text, text);
    EXPECT_EQ(error.position, position);
    EXPECT_EQ(error.suggestion, suggestion);
    const std::string message = error.what();
    const std::string line = message.substr(0, message.find('\n'));
    EXPECT_LT(line.size(), 200U);
    EXPECT_EQ(line.rfind("[gpu=\"", 0), 0U) << line;
    EXPECT_NE(line.find("at byte " + std::to_string(position)), std::string::npos) << line;
    EXPECT_NE(line.find("expected "), std::string::npos) << line;
    EXPECT_NE(line.find(", got "), std::string::npos) << line;
    for (const char c : message) EXPECT_TRUE(c == '\n' || (c >= ' ' && c <= '~'));
    if (!suggestion.empty() && suggestion[0] != '[') {
      EXPECT_EQ(GpuRequest::parse(suggestion).to_string(), suggestion);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Strings, GpuRequestRejects,
    ::testing::Values(Rejected{"", 0, "any"}, Rejected{" ", 0, "any"}, Rejected{":", 0, "any"},
                      Rejected{":2", 0, "any:2"}, Rejected{"H100:", 5, "H100"},
                      Rejected{"H100:0", 5, "H100"}, Rejected{"H100:-1", 5, "H100"},
                      Rejected{"H100:+1", 5, "H100"}, Rejected{"H100:+4", 5, "H100:4"},
                      Rejected{"H100: 2", 5, "H100:2"}, Rejected{"H100 :2", 4, "H100:2"},
                      Rejected{"H100:2 ", 6, "H100:2"}, Rejected{"H100:2:2", 6, "H100:2"},
                      Rejected{"H100::2", 5, "H100:2"}, Rejected{"H100:02", 5, "H100:2"},
                      Rejected{"H100:2_0", 6, "H100:20"}, Rejected{"H100:1e3", 6, "H100"},
                      Rejected{"H100:0x2", 6, "H100"}, Rejected{"H100:2.0", 6, "H100:2"},
                      Rejected{"H100:\xef\xbc\x91", 5, "H100"},  // full-width 1
                      Rejected{"H100:\xd9\xa3", 5, "H100:3"},    // Arabic 3
                      Rejected{"H100:99999999999999999999", 5, "H100"},
                      Rejected{"H100:2147483648", 5, "H100"}, Rejected{"H100:\0 2"s, 5, "H100:2"},
                      Rejected{"H100\n", 4, "H100"}, Rejected{"H100\0"s, 4, "H100"},
                      Rejected{"\xef\xbc\xa8"s + "100", 0, "H100"},  // full-width H
                      Rejected{"h1OO", 0, "H100"}, Rejected{"H1000", 0, "H100"},
                      Rejected{"A100-80", 0, "A100-80GB"}, Rejected{"V 100", 1, "V100"},
                      Rejected{"../H100", 2, "H100"}, Rejected{"%s%n", 0, ""},
                      Rejected{"H100;rm", 4, "H100"},
                      Rejected{"H100,A100", 4, R"(["H100", "A100"])"},
                      Rejected{"H100, a100-80:2", 4, R"(["H100", "A100-80GB:2"])"},
                      Rejected{R"(["H100"])", 0, "H100"}, Rejected{"4", 0, "any:4"},
                      Rejected{"99999999999", 0, "any"}, Rejected{"GPU-", 4, ""},
                      Rejected{"GPU-zz", 4, ""}, Rejected{"MIG-", 4, ""}));

INSTANTIATE_TEST_SUITE_P(
    MoreStrings, GpuRequestRejects,
    ::testing::Values(
        Rejected{"GPU-01234567-89ab-cdef-0123-456789abcdef0", 40, ""},
        Rejected{"GPU-01234567-89ab-cdef-0123-456789abcdef:2", 41,
                 "GPU-01234567-89ab-cdef-0123-456789abcdef"},
        Rejected{"GPU-01234567-89ab-cdef-0123-456789abcdef!", 40, ""}, Rejected{"any!", 3, "any"},
        Rejected{"any+:2", 3, "any:2"}, Rejected{"H100!!", 5, "H100!"}, Rejected{"!", 0, ""},
        Rejected{"0GB", 0, ""}, Rejected{"040GB", 0, ""}, Rejected{"40G", 0, "40GB"},
        Rejected{"40GiB:2", 0, "40GB:2"}, Rejected{"99999999999GB", 0, ""}, Rejected{"foo", 0, ""},
        Rejected{"nonexistent:2", 0, ""}, Rejected{"a10g:hello", 5, "A10G"},
        Rejected{"RTX 4090", 3, "RTX4090"}, Rejected{"NVIDIA H100 80GB", 6, "H100"},
        Rejected{"rtx4090ti", 0, "RTX4090"}, Rejected{"H10", 0, "H100"},
        Rejected{"L-40S", 0, "L40S"}, Rejected{"B2000+", 0, "B200+"},
        Rejected{"GeForce RTX 3080 Ti:2", 7, "RTX3080-TI:2"}, Rejected{"\xed\xa0\x80", 0, "any"},
        Rejected{"\xff\xfe", 0, "any"}, Rejected{std::string(4096, 'H'), 0, ""},
        Rejected{std::string(10 << 20, 'a'), 0, ""},
        Rejected{"H100:" + std::string(10 << 20, '9'), 5, ""},
        Rejected{std::string(10 << 20, ','), 0, ""}));

TEST(GpuRequestList, KeepsTheOrderOfPreference) {
  const auto request = GpuRequest::parse(std::vector<std::string>{"h100:2", "A100-80GB:4", "any"});
  EXPECT_EQ(request.to_string(), "[H100:2, A100-80GB:4, any]");
  EXPECT_EQ(request.alternatives().size(), 3U);
  EXPECT_EQ(GpuRequest::parse(std::vector<std::string>{"h100"}), GpuRequest::parse("H100"));
}

TEST(GpuRequestList, RejectsNoneAndTooMany) {
  EXPECT_THROW(GpuRequest::parse(std::vector<std::string>{}), GpuRequestError);
  EXPECT_NO_THROW(GpuRequest::parse(std::vector<std::string>(64, "H100")));
  EXPECT_THROW(GpuRequest::parse(std::vector<std::string>(65, "H100")), GpuRequestError);
}

TEST(GpuRequestList, NamesTheItemThatIsWrong) {
  try {
    GpuRequest::parse(std::vector<std::string>{"H100", std::string(5000, 'x'), "any"});
    FAIL() << "accepted";
  } catch (const GpuRequestError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("item 2 of 3"), std::string::npos) << message;
    EXPECT_LT(message.find('\n'), 200U);
  }
}

TEST(GpuMatch, HasFourNames) {
  for (const auto match :
       {GpuMatch::kExact, GpuMatch::kUpgrade, GpuMatch::kAtLeast, GpuMatch::kPretend}) {
    EXPECT_EQ(parse_gpu_match(to_string(match)), match);
  }
  EXPECT_THROW(parse_gpu_match("Exact"), InvalidError);
  EXPECT_THROW(parse_gpu_match(""), InvalidError);
}

}  // namespace
}  // namespace ionian
