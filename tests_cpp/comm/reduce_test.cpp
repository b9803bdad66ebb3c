#include "comm/reduce.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "cuda/element.hpp"

namespace ionian {
namespace {

template <class T>
std::vector<T> reduce(DType dtype, ReduceOp op, const std::vector<std::vector<T>>& inputs) {
  std::vector<const std::byte*> pointers;
  for (const auto& input : inputs)
    pointers.push_back(reinterpret_cast<const std::byte*>(input.data()));
  std::vector<T> out(inputs.front().size());
  reduce_on_host(dtype, op, pointers, reinterpret_cast<std::byte*>(out.data()), out.size());
  return out;
}

TEST(ReduceOnHost, IntegersWrapAround) {
  const auto most = std::numeric_limits<std::int32_t>::max();
  EXPECT_EQ(reduce<std::int32_t>(DType::kInt32, ReduceOp::kSum, {{most}, {1}}),
            (std::vector<std::int32_t>{std::numeric_limits<std::int32_t>::min()}));
  EXPECT_EQ(reduce<std::uint8_t>(DType::kUInt8, ReduceOp::kProd, {{16}, {17}}),
            (std::vector<std::uint8_t>{16}));
}

TEST(ReduceOnHost, TheAverageOfIntegersIsRoundedTowardsZero) {
  EXPECT_EQ(reduce<std::int32_t>(DType::kInt32, ReduceOp::kAvg, {{-3, 3, 4}, {-4, 4, 4}}),
            (std::vector<std::int32_t>{-3, 3, 4}));
}

TEST(ReduceOnHost, SmallFloatsAreAddedInFloat32AndRoundedOnce) {
  // In float16 alone, 2048 + 1 is 2048: added one by one nothing would happen.
  const std::vector<std::uint16_t> big{Float16::store(2048)};
  const std::vector<std::uint16_t> one{Float16::store(1)};
  const auto sum =
      reduce<std::uint16_t>(DType::kFloat16, ReduceOp::kSum, {big, one, one, one, one});
  EXPECT_EQ(Float16::load(sum[0]), 2052.0F);
}

TEST(ReduceOnHost, FloatsAreAddedInTheOrderOfRanks) {
  EXPECT_EQ(reduce<float>(DType::kFloat32, ReduceOp::kSum, {{1e8F}, {1.0F}, {-1e8F}})[0],
            (1e8F + 1.0F) - 1e8F);
}

TEST(ReduceOnHost, NanWinsOverAnyNumber) {
  for (const ReduceOp op : {ReduceOp::kMax, ReduceOp::kMin}) {
    EXPECT_TRUE(std::isnan(reduce<float>(DType::kFloat32, op, {{NAN}, {1.0F}})[0]));
    EXPECT_TRUE(std::isnan(reduce<float>(DType::kFloat32, op, {{1.0F}, {NAN}})[0]));
  }
}

}  // namespace
}  // namespace ionian
