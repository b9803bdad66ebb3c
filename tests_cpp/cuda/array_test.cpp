#include "ionian/array.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "ionian/error.hpp"

namespace ionian {
namespace {

TEST(DType, EveryNameIsReadBackAsItself) {
  for (std::size_t i = 0; i < kDTypes; ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_EQ(parse_dtype(to_string(dtype)), dtype);
    EXPECT_GT(size_of(dtype), 0U);
  }
  EXPECT_EQ(parse_dtype("float"), std::nullopt);
}

TEST(Array, ANewOneIsRowMajor) {
  const Array array(nullptr, DType::kFloat16, {2, 3, 4});
  EXPECT_EQ(std::vector(array.strides().begin(), array.strides().end()),
            (std::vector<std::int64_t>{12, 4, 1}));
  EXPECT_EQ(array.size(), 24);
  EXPECT_EQ(array.bytes(), 48U);
  EXPECT_TRUE(array.is_contiguous());
  EXPECT_TRUE(array.on_host());
}

TEST(Array, NoDimensionsMeanOneElement) { EXPECT_EQ(Array(nullptr, DType::kInt8, {}).size(), 1); }

TEST(Array, OnlyGaplessRowsAreContiguous) {
  Array array(nullptr, DType::kFloat32, {4, 1, 6});
  array.steps[1] = 999;  // a dimension of length 1 is never stepped along
  EXPECT_TRUE(array.is_contiguous());
  array.steps[0] = 7;
  EXPECT_FALSE(array.is_contiguous());
  array.dims[2] = 0;
  EXPECT_TRUE(array.is_contiguous()) << "there is nothing in it";
}

TEST(Array, SaysWhatItIs) {
  Array array(nullptr, DType::kBFloat16, {128, 64}, 1);
  EXPECT_EQ(array.to_string(), "bfloat16 (128, 64) on cuda:1");
  array.steps = {1, 128};
  EXPECT_EQ(array.to_string(), "bfloat16 (128, 64) strides (1, 128) on cuda:1");
  EXPECT_EQ(Array(nullptr, DType::kInt32, {5}).to_string(), "int32 (5,) on the host");
}

TEST(Array, RefusesMoreDimensionsThanItHolds) {
  const std::vector<std::int64_t> shape(Array::kMaxDims + 1, 1);
  EXPECT_THROW(Array(nullptr, DType::kInt8, shape), InvalidError);
}

}  // namespace
}  // namespace ionian
