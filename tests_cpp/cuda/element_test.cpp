#include "cuda/element.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace ionian {
namespace {

template <class Format, class Bits>
void every_pattern_survives() {
  for (unsigned pattern = 0; pattern <= std::numeric_limits<Bits>::max(); ++pattern) {
    const auto bits = static_cast<Bits>(pattern);
    const float value = Format::load(bits);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(Format::load(Format::store(value))));
    } else {
      ASSERT_EQ(Format::store(value), bits) << pattern;
    }
  }
}

TEST(SmallFloat, EveryPatternIsStoredAsItWasLoaded) {
  every_pattern_survives<Float16, std::uint16_t>();
  every_pattern_survives<BFloat16, std::uint16_t>();
  every_pattern_survives<Float8E4M3, std::uint8_t>();
  every_pattern_survives<Float8E5M2, std::uint8_t>();
}

/// Between two neighbours a and b the middle goes to the even one, what is nearer to one to it.
template <class Format, class Bits>
void neighbours_are_rounded(unsigned last) {
  for (unsigned pattern = 0; pattern < last; ++pattern) {
    const float a = Format::load(static_cast<Bits>(pattern));
    const float b = Format::load(static_cast<Bits>(pattern + 1));
    const float middle = a + (b - a) / 2;
    ASSERT_EQ(Format::store(middle), (pattern % 2 == 0) ? pattern : pattern + 1) << pattern;
    ASSERT_EQ(Format::store(std::nextafter(middle, a)), pattern);
    ASSERT_EQ(Format::store(std::nextafter(middle, b)), pattern + 1);
  }
}

TEST(SmallFloat, RoundsToNearestTiesToEven) {
  neighbours_are_rounded<Float16, std::uint16_t>(0x7bff);
  neighbours_are_rounded<Float8E4M3, std::uint8_t>(0x7e);
  neighbours_are_rounded<Float8E5M2, std::uint8_t>(0x7b);
}

TEST(SmallFloat, KnowsItsLargestNumber) {
  EXPECT_EQ(Float16::max(), 65504.0);
  EXPECT_EQ(Float8E4M3::max(), 448.0);
  EXPECT_EQ(Float8E5M2::max(), 57344.0);
  EXPECT_EQ(BFloat16::load(0x7f7f), BFloat16::max());
}

TEST(SmallFloat, TooLargeIsInfinityOrNan) {
  EXPECT_EQ(Float16::store(65520.0F), 0x7c00);  // half-way to 65536, which does not exist
  EXPECT_EQ(Float16::store(65519.0F), 0x7bff);
  EXPECT_EQ(Float16::store(-1e30F), 0xfc00);
  EXPECT_EQ(Float8E4M3::store(464.1F), 0x7f);
  EXPECT_EQ(Float8E5M2::store(1e30F), 0x7c);
  EXPECT_TRUE(std::isnan(BFloat16::load(BFloat16::store(NAN))));
}

TEST(WithElement, CoversEveryType) {
  for (std::size_t i = 0; i < kDTypes; ++i) {
    const auto dtype = static_cast<DType>(i);
    const std::size_t size = with_element(
        dtype, [](auto element) { return sizeof(typename decltype(element)::Storage); });
    EXPECT_EQ(size, size_of(dtype));
    EXPECT_EQ(with_element(dtype,
                           [](auto element) {
                             using E = decltype(element);
                             return static_cast<int>(E::load(E::store(3)));
                           }),
              3);
  }
}

}  // namespace
}  // namespace ionian
