#include "blas/algorithm_store.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include "support/temporary_directory.hpp"

namespace ionian::blas {
namespace {

cublaslt::Algo algo(std::uint64_t number) {
  cublaslt::Algo made{};
  for (auto& word : made.data) word = number++ * 0x9e3779b97f4a7c15U;
  return made;
}

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void expect_found(const AlgorithmStore& store, const std::string& problem, std::uint64_t number) {
  const auto found = store.find(problem);
  ASSERT_TRUE(found) << problem;
  const auto expected = algo(number);
  EXPECT_TRUE(std::equal(std::begin(expected.data), std::end(expected.data), found->data));
}

TEST(AlgorithmStore, WhatOneProcessMeasuredTheNextOneFinds) {
  const testing::TemporaryDirectory directory;
  const std::string path = directory.path() + "/cache/matmul";
  AlgorithmStore(path).add("1,2,3", algo(7));
  expect_found(AlgorithmStore(path), "1,2,3", 7);
  EXPECT_FALSE(AlgorithmStore(path).find("1,2,4"));
}

TEST(AlgorithmStore, TwoProcessesKeepEachOthersWork) {
  const testing::TemporaryDirectory directory;
  const std::string path = directory.path() + "/matmul";
  AlgorithmStore first(path);
  AlgorithmStore second(path);
  first.add("1", algo(1));
  second.add("2", algo(2));
  const AlgorithmStore third(path);
  expect_found(third, "1", 1);
  expect_found(third, "2", 2);
}

TEST(AlgorithmStore, TornAndForeignLinesSayNothing) {
  const testing::TemporaryDirectory directory;
  const std::string path = directory.path() + "/matmul";
  AlgorithmStore(path).add("1", algo(1));
  std::ofstream(path, std::ios::app) << "2 1 2 3\n3 1 2 3 4 5 6 7 8 9\n4 x 2 3 4 5 6 7 8\n5";
  const AlgorithmStore store(path);
  expect_found(store, "1", 1);
  for (const char* torn : {"2", "3", "4", "5"}) EXPECT_FALSE(store.find(torn)) << torn;
}

TEST(AlgorithmStore, AFileOfAnotherFormatIsAsGoodAsNoneAndIsReplaced) {
  const testing::TemporaryDirectory directory;
  const std::string path = directory.path() + "/matmul";
  std::ofstream(path) << "something else\n1 1 2 3 4 5 6 7 8\n";
  AlgorithmStore store(path);
  EXPECT_FALSE(store.find("1"));
  store.add("2", algo(2));
  expect_found(AlgorithmStore(path), "2", 2);
  EXPECT_EQ(text_of(path).find("something else"), std::string::npos);
}

TEST(AlgorithmStore, WhereNothingCanBeWrittenItStillWorksForThisProcess) {
  AlgorithmStore nowhere("");
  nowhere.add("1", algo(1));
  expect_found(nowhere, "1", 1);
  AlgorithmStore refused("/proc/no/such/place");
  refused.add("1", algo(1));
  expect_found(refused, "1", 1);
}

TEST(AlgorithmStore, ManyThreadsAddAtOnce) {
  const testing::TemporaryDirectory directory;
  const std::string path = directory.path() + "/matmul";
  AlgorithmStore store(path);
  std::vector<std::thread> threads;
  for (std::uint64_t i = 0; i < 4; ++i) {
    threads.emplace_back([&store, i] {
      for (std::uint64_t j = 0; j < 8; ++j) store.add(std::to_string(8 * i + j), algo(8 * i + j));
    });
  }
  for (auto& thread : threads) thread.join();
  const AlgorithmStore again(path);
  for (std::uint64_t i = 0; i < 32; ++i) expect_found(again, std::to_string(i), i);
}

}  // namespace
}  // namespace ionian::blas
