// Random texts against an independent reading of the grammar: a regular expression and a range.
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "ionian/catalog.hpp"
#include "ionian/error.hpp"
#include "ionian/gpu_request.hpp"
#include "support/gpu_request_grammar.hpp"

namespace ionian {
namespace {

using testing::is_gpu_request;

/// Makes texts near the grammar: pieces that belong to it, joined and then damaged now and then.
class Texts {
 public:
  explicit Texts(unsigned seed) : random_(seed) {}
  std::string next() {
    static const std::vector<std::string> pieces{"H100",
                                                 "h100",
                                                 "A100",
                                                 "-80GB",
                                                 "-40GB",
                                                 "any",
                                                 "40GB",
                                                 "GB",
                                                 "RTX",
                                                 "4090",
                                                 "!",
                                                 "+",
                                                 ":",
                                                 ":",
                                                 ":1",
                                                 ":8",
                                                 ":0",
                                                 ":02",
                                                 "2",
                                                 "0",
                                                 "9",
                                                 " ",
                                                 "\n",
                                                 "\t",
                                                 "GPU-",
                                                 "MIG-",
                                                 "01234567-89ab-cdef-0123-456789abcdef",
                                                 "-",
                                                 "_",
                                                 ".",
                                                 ",",
                                                 ":2147483647",
                                                 ":2147483648",
                                                 std::string(1, '\0'),
                                                 "\xef\xbc\x91",
                                                 "\xff",
                                                 "T4",
                                                 "l4",
                                                 "B200",
                                                 "b300"};
    std::string text;
    for (auto n = pick(4); n-- > 0;) text += pieces[pick(pieces.size() - 1)];
    if (!text.empty() && pick(9) == 0) text.erase(pick(text.size() - 1), 1);
    if (!text.empty() && pick(9) == 0) text[pick(text.size() - 1)] = static_cast<char>(pick(255));
    return text;
  }

 private:
  std::size_t pick(std::size_t most) {
    return std::uniform_int_distribution<std::size_t>(0, most)(random_);
  }
  std::mt19937 random_;
};

TEST(GpuRequestProperty, AcceptsExactlyWhatAnIndependentReadingAccepts) {
  Texts texts(20261123);
  int accepted = 0;
  for (int i = 0; i < 3000; ++i) {
    const std::string text = texts.next();
    try {
      const auto request = GpuRequest::parse(text);
      ++accepted;
      ASSERT_TRUE(is_gpu_request(text)) << ::testing::PrintToString(text);
      ASSERT_EQ(GpuRequest::parse(request.to_string()), request) << ::testing::PrintToString(text);
      ASSERT_EQ(GpuRequest::parse(request.to_string()).to_string(), request.to_string());
    } catch (const GpuRequestError& error) {
      ASSERT_FALSE(is_gpu_request(text)) << ::testing::PrintToString(text) << error.what();
      ASSERT_LE(error.position, text.size());
      ASSERT_LT(std::string(error.what()).find('\n'), 200U) << error.what();
      if (!error.suggestion.empty() && error.suggestion[0] != '[') {
        ASSERT_TRUE(is_gpu_request(error.suggestion)) << error.suggestion;
      }
    }
  }
  EXPECT_GT(accepted, 100);  // else the texts are too wild to test acceptance
}

TEST(GpuRequestProperty, EveryNameOfTheCatalogMeansItsModel) {
  for (const auto& model : catalog()) {
    for (const std::string suffix : {"", "!", "+", ":3", "!:8"}) {
      const std::string canonical = std::string(model.type) + suffix;
      EXPECT_EQ(GpuRequest::parse(canonical).to_string(), canonical);
      for (const auto alias : model.aliases) {
        EXPECT_EQ(GpuRequest::parse(std::string(alias) + suffix).to_string(), canonical);
      }
    }
  }
}

}  // namespace
}  // namespace ionian
