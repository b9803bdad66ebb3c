#include "lease/queue_order.hpp"

#include <gtest/gtest.h>

namespace ionian {
namespace {

const std::vector<QueuePlace> kOrder{{7, 0, false}, {8, 2, true}, {1ULL << 63, 1, false}};

TEST(QueueOrder, ReadsWhatItWrote) {
  EXPECT_EQ(parse_queue_order(to_string(kOrder)), kOrder);
  EXPECT_EQ(parse_queue_order(to_string(std::vector<QueuePlace>{})), std::vector<QueuePlace>{});
}

TEST(QueueOrder, ATextThatWasCutOffOrChangedAnywhereSaysNothing) {
  const std::string whole = to_string(kOrder);
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_EQ(parse_queue_order(whole.substr(0, size)), std::nullopt) << size;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::string changed = whole;
    changed[at] = changed[at] == '7' ? '8' : '7';
    EXPECT_EQ(parse_queue_order(changed), std::nullopt) << changed;
  }
  EXPECT_EQ(parse_queue_order(whole + "x"), std::nullopt);
}

TEST(QueueOrder, PlacesThatAreNotInOrderSayNothing) {
  EXPECT_EQ(parse_queue_order(to_string({{8, 0, false}, {7, 1, false}})), std::nullopt);
  EXPECT_EQ(parse_queue_order(to_string({{7, 0, false}, {7, 1, false}})), std::nullopt);
}

}  // namespace
}  // namespace ionian
