#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "cuda/element.hpp"
#include "ionian/error.hpp"
#include "ionian/matmul.hpp"

namespace ionian {
namespace {

/// Random small whole numbers: every sum of products of them is exact in every type.
std::vector<float> numbers(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int> whole(-3, 3);
  std::vector<float> made(count);
  for (auto& each : made) each = static_cast<float>(whole(random));
  return made;
}

/// The same numbers as elements of a type.
std::vector<std::byte> stored(const std::vector<float>& values, DType dtype) {
  std::vector<std::byte> bytes(values.size() * size_of(dtype));
  with_element(dtype, [&](auto element) {
    using E = decltype(element);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto each = E::store(static_cast<typename E::Value>(values[i]));
      std::memcpy(bytes.data() + i * sizeof(each), &each, sizeof(each));
    }
  });
  return bytes;
}

std::vector<double> loaded(const std::vector<std::byte>& bytes, DType dtype) {
  std::vector<double> values(bytes.size() / size_of(dtype));
  with_element(dtype, [&](auto element) {
    using E = decltype(element);
    for (std::size_t i = 0; i < values.size(); ++i) {
      typename E::Storage each;
      std::memcpy(&each, bytes.data() + i * sizeof(each), sizeof(each));
      values[i] = static_cast<double>(E::load(each));
    }
  });
  return values;
}

struct Case {
  DType a;
  DType b;
  DType out;
};
constexpr Case kCases[] = {
    {DType::kFloat64, DType::kFloat64, DType::kFloat64},
    {DType::kFloat32, DType::kFloat32, DType::kFloat32},
    {DType::kFloat16, DType::kFloat16, DType::kFloat16},
    {DType::kFloat16, DType::kFloat16, DType::kFloat32},
    {DType::kBFloat16, DType::kBFloat16, DType::kBFloat16},
    {DType::kBFloat16, DType::kBFloat16, DType::kFloat32},
    {DType::kFloat8E4M3, DType::kFloat8E4M3, DType::kBFloat16},
    {DType::kFloat8E4M3, DType::kFloat8E5M2, DType::kFloat32},
    {DType::kFloat8E5M2, DType::kFloat8E4M3, DType::kFloat16},
    {DType::kInt8, DType::kInt8, DType::kInt32},
};

TEST(HostMatmul, IsExactInEveryTypeWhereTheSumsAre) {
  constexpr std::int64_t kM = 7, kN = 5, kK = 11;
  const auto a = numbers(kM * kK, 1);
  const auto b = numbers(kK * kN, 2);
  for (const Case& each : kCases) {
    auto a_bytes = stored(a, each.a);
    auto b_bytes = stored(b, each.b);
    std::vector<std::byte> out(kM * kN * size_of(each.out));
    matmul(Array(a_bytes.data(), each.a, {kM, kK}), Array(b_bytes.data(), each.b, {kK, kN}),
           Array(out.data(), each.out, {kM, kN}));
    const auto got = loaded(out, each.out);
    for (std::int64_t i = 0; i < kM; ++i) {
      for (std::int64_t j = 0; j < kN; ++j) {
        double sum = 0;
        for (std::int64_t x = 0; x < kK; ++x)
          sum += a[static_cast<std::size_t>(i * kK + x)] * b[static_cast<std::size_t>(x * kN + j)];
        EXPECT_EQ(got[static_cast<std::size_t>(i * kN + j)], sum)
            << to_string(each.a) << " @ " << to_string(each.b) << " -> " << to_string(each.out);
      }
    }
  }
}

TEST(HostMatmul, ActivationsComeAfterTheBias) {
  std::vector<double> a{1, -2};
  std::vector<double> one{1};
  std::vector<double> bias{0.5};
  std::vector<double> out(2);
  MatmulOptions options;
  const Array bias_array(bias.data(), DType::kFloat64, {1});
  options.bias = &bias_array;
  const auto run = [&](Activation activation) {
    options.activation = activation;
    matmul(Array(a.data(), DType::kFloat64, {2, 1}), Array(one.data(), DType::kFloat64, {1, 1}),
           Array(out.data(), DType::kFloat64, {2, 1}), options);
    return out;
  };
  EXPECT_EQ(run(Activation::kNone), (std::vector<double>{1.5, -1.5}));
  EXPECT_EQ(run(Activation::kRelu), (std::vector<double>{1.5, 0}));
  const auto silu = run(Activation::kSilu);
  EXPECT_DOUBLE_EQ(silu[0], 1.5 / (1 + std::exp(-1.5)));
  EXPECT_DOUBLE_EQ(silu[1], -1.5 / (1 + std::exp(1.5)));
}

TEST(HostMatmul, TypesThatCannotBeMultipliedAreNamed) {
  for (const auto& [a, b] : {std::pair{DType::kFloat32, DType::kFloat64},
                             {DType::kUInt8, DType::kUInt8},
                             {DType::kFloat8E5M2, DType::kFloat8E5M2}}) {
    try {
      static_cast<void>(matmul_dtype(a, b));
      ADD_FAILURE() << to_string(a) << " @ " << to_string(b);
    } catch (const InvalidError& error) {
      EXPECT_NE(std::string(error.what()).find(to_string(b)), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace ionian
