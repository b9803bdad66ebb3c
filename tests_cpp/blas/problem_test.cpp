// How calls become problems: what is folded, what is walked, what counts as the same.
#include "blas/problem.hpp"

#include <gtest/gtest.h>

#include "ionian/error.hpp"

namespace ionian::blas {
namespace {

alignas(256) std::byte memory[4096];  // NOLINT

Array array(std::initializer_list<std::int64_t> shape, std::size_t at = 0) {
  return {memory + at, DType::kFloat32, shape};
}
Array transposed(Array of) {
  std::swap(of.dims[of.ndim - 1], of.dims[of.ndim - 2]);
  std::swap(of.steps[of.ndim - 1], of.steps[of.ndim - 2]);
  return of;
}

TEST(Problem, ATransposedOperandIsTheSameMemoryByColumns) {
  const auto call = make_call(transposed(array({4, 3})), array({4, 5}), array({3, 5}), {});
  EXPECT_TRUE(call.problem.a.by_columns);
  EXPECT_EQ(call.problem.a.ld, 3);
  EXPECT_FALSE(call.problem.b.by_columns);
}

TEST(Problem, AnOutByColumnsIsTheTransposedProduct) {
  const auto call = make_call(array({3, 4}), array({4, 5}), transposed(array({5, 3})), {});
  EXPECT_EQ(call.problem.m, 5);
  EXPECT_EQ(call.problem.n, 3);
  EXPECT_FALSE(call.problem.out.by_columns);
  EXPECT_TRUE(call.problem.a.by_columns);
  EXPECT_TRUE(call.problem.b.by_columns);
}

TEST(Problem, ABatchWithOneMatrixIsOneTallProduct) {
  const auto call = make_call(array({6, 3, 4}), array({4, 5}), array({6, 3, 5}), {});
  EXPECT_EQ(call.problem.m, 18);
  EXPECT_EQ(call.problem.batch, 1);
  EXPECT_EQ(call.loops, 0U);
}

TEST(Problem, BatchesThatOneStrideWalksAreOne) {
  const auto call = make_call(array({2, 3, 4, 4}), array({2, 3, 4, 4}), array({2, 3, 4, 4}), {});
  EXPECT_EQ(call.problem.batch, 6);
  EXPECT_EQ(call.problem.a.stride, 16);
  EXPECT_EQ(call.loops, 0U);
}

TEST(Problem, BatchesThatAreBroadcastAcrossAreWalkedOneByOne) {
  const auto call = make_call(array({2, 1, 4, 4}), array({3, 4, 4}), array({2, 3, 4, 4}), {});
  EXPECT_EQ(call.problem.batch, 3);
  ASSERT_EQ(call.loops, 1U);
  EXPECT_EQ(call.loop[0].count, 2);
  EXPECT_EQ(call.loop[0].a, 16 * 4);
  EXPECT_EQ(call.loop[0].b, 0);
  EXPECT_EQ(call.loop[0].out, 3 * 16 * 4);
  int steps = 0;
  call.each([&](const Pointers&) { ++steps; });
  EXPECT_EQ(steps, 2);
}

TEST(Problem, TheSameShapesAtAnotherAddressOfTheSameAlignmentAreTheSameProblem) {
  const auto a = make_call(array({8, 8}), array({8, 8}), array({8, 8}), {}).problem;
  const auto b = make_call(array({8, 8}, 512), array({8, 8}, 1024), array({8, 8}), {}).problem;
  EXPECT_EQ(a, b);
  EXPECT_EQ(ProblemHash{}(a), ProblemHash{}(b));
  EXPECT_EQ(a.to_string(), b.to_string());
  const auto c = make_call(array({8, 8}, 4), array({8, 8}), array({8, 8}), {}).problem;
  EXPECT_FALSE(a == c);
  EXPECT_NE(a.to_string(), c.to_string());
}

TEST(Problem, WhatDoesNotFitIsNamedWithWhatWould) {
  const struct {
    const char* what;
    Array a, b, out;
    const char* says;
  } cases[] = {
      {"inner", array({3, 4}), array({5, 6}), array({3, 6}), "as many columns of a"},
      {"out", array({3, 4}), array({4, 6}), array({6, 3}), "out (…, 3, 6)"},
      {"batch", array({2, 3, 4}), array({3, 4, 6}), array({2, 3, 6}), "equal, or 1"},
      {"vector", array({4}), array({4, 6}), array({6}), "at least two dimensions"},
      {"devices", Array(memory, DType::kFloat32, {3, 4}, 1), array({4, 6}), array({3, 6}),
       "all on one device"},
  };
  for (const auto& each : cases) {
    try {
      make_call(each.a, each.b, each.out, {});
      ADD_FAILURE() << each.what;
    } catch (const InvalidError& error) {
      EXPECT_NE(std::string(error.what()).find(each.says), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace ionian::blas
