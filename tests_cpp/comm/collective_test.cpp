// Every collective over shared memory, with inputs whose exact result is known.
//
// Values are small whole numbers, so every partial result in any order is a number of the type:
// equality is the test, for floating point too.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include "comm/shared_memory.hpp"
#include "cuda/element.hpp"
#include "ionian/communicator.hpp"
#include "ionian/error.hpp"

namespace ionian {
namespace {

/// Runs `body(communicator)` for each rank of a world, in threads. Fails if one throws.
void in_world(int size, const std::function<void(Communicator&)>& body) {
  auto ranks = make_communicators(std::vector<int>(static_cast<std::size_t>(size), Array::kHost),
                                  CommBackend::kSharedMemory);
  std::vector<std::thread> threads;
  for (auto& rank : ranks) {
    threads.emplace_back([&rank, &body] {
      try {
        body(rank);
      } catch (const std::exception& error) {
        ADD_FAILURE() << "rank " << rank.rank() << ": " << error.what();
        rank.abort();
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

/// An array of any type, with its memory.
struct Numbers {
  Numbers(DType dtype, std::size_t count)
      : bytes(count * size_of(dtype) + 1),
        array(bytes.data(), dtype, {static_cast<std::int64_t>(count)}) {}
  void set(std::size_t i, int value) {
    with_element(array.dtype, [&](auto element) {
      using E = decltype(element);
      const auto stored = E::store(static_cast<typename E::Value>(value));
      std::memcpy(bytes.data() + i * sizeof(stored), &stored, sizeof(stored));
    });
  }
  [[nodiscard]] int get(std::size_t i) const {
    return with_element(array.dtype, [&](auto element) {
      using E = decltype(element);
      typename E::Storage stored;
      std::memcpy(&stored, bytes.data() + i * sizeof(stored), sizeof(stored));
      return static_cast<int>(E::load(stored));
    });
  }
  [[nodiscard]] std::size_t size() const { return static_cast<std::size_t>(array.size()); }
  std::vector<std::byte> bytes;
  Array array;
};

/// Returns how many different values there are: 8-bit floats hold whole numbers up to 8 only.
int values(DType dtype) {
  return dtype == DType::kFloat8E4M3 || dtype == DType::kFloat8E5M2 ? 2 : 3;
}

/// What rank `rank` has at element `i`: from 0 to `many` - 1.
int value(int rank, std::size_t i, int many = 3) {
  return static_cast<int>((i * 7 + static_cast<std::size_t>(rank) * 5) %
                          static_cast<std::size_t>(many));
}

Numbers filled(DType dtype, std::size_t count, int rank) {
  Numbers numbers(dtype, count);
  for (std::size_t i = 0; i < count; ++i) numbers.set(i, value(rank, i, values(dtype)));
  return numbers;
}

int expected(ReduceOp op, int size, std::size_t i, int many = 3) {
  int result = value(0, i, many);
  for (int rank = 1; rank < size; ++rank) {
    const int next = value(rank, i, many);
    switch (op) {
      case ReduceOp::kProd:
        result *= next;
        break;
      case ReduceOp::kMax:
        result = std::max(result, next);
        break;
      case ReduceOp::kMin:
        result = std::min(result, next);
        break;
      default:
        result += next;
    }
  }
  return op == ReduceOp::kAvg ? result / size : result;
}

std::vector<DType> all_types() {
  std::vector<DType> types;
  for (std::size_t i = 0; i < kDTypes; ++i) types.push_back(static_cast<DType>(i));
  return types;
}

class World : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Sizes, World, ::testing::Values(1, 2, 3, 4, 8));

TEST_P(World, AllReduceGivesEveryRankTheExactResultOfEveryTypeAndOperation) {
  const int size = GetParam();
  in_world(size, [&](Communicator& comm) {
    for (const DType dtype : all_types()) {
      for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kProd, ReduceOp::kMax, ReduceOp::kMin}) {
        for (const std::size_t count : {0U, 1U, 3U, 1000U}) {
          const Numbers in = filled(dtype, count, comm.rank());
          const Numbers out(dtype, count);
          comm.all_reduce(in.array, out.array, op);
          for (std::size_t i = 0; i < count; ++i)
            ASSERT_EQ(out.get(i), expected(op, size, i, values(dtype)))
                << to_string(dtype) << " " << to_string(op) << " " << i;
        }
      }
    }
  });
}

TEST_P(World, AverageOfWholeNumbersIsRoundedTowardsZero) {
  const int size = GetParam();
  in_world(size, [&](Communicator& comm) {
    const Numbers in = filled(DType::kInt32, 50, comm.rank());
    const Numbers out(DType::kInt32, 50);
    comm.all_reduce(in.array, out.array, ReduceOp::kAvg);
    for (std::size_t i = 0; i < 50; ++i) ASSERT_EQ(out.get(i), expected(ReduceOp::kAvg, size, i));
  });
}

TEST_P(World, ArraysLargerThanAChunkComeWhole) {
  const int size = GetParam();
  constexpr std::size_t kChunk = shared_memory::kSlotBytes / sizeof(float);
  in_world(size, [&](Communicator& comm) {
    for (const std::size_t count : {kChunk - 1, kChunk, kChunk + 1, 2 * kChunk + 17}) {
      const Numbers in = filled(DType::kFloat32, count, comm.rank());
      comm.all_reduce(in.array, in.array, ReduceOp::kSum);  // in place
      for (std::size_t i = 0; i < count; i += 1009)
        ASSERT_EQ(in.get(i), expected(ReduceOp::kSum, size, i));
      ASSERT_EQ(in.get(count - 1), expected(ReduceOp::kSum, size, count - 1));
    }
  });
}

TEST_P(World, ReduceAndBroadcastKnowTheirRoot) {
  const int size = GetParam();
  in_world(size, [&](Communicator& comm) {
    for (int root = 0; root < size; ++root) {
      const Numbers in = filled(DType::kInt64, 100, comm.rank());
      Numbers out(DType::kInt64, 100);
      out.set(0, 77);
      comm.reduce(in.array, out.array, ReduceOp::kSum, root);
      ASSERT_EQ(out.get(0), comm.rank() == root ? expected(ReduceOp::kSum, size, 0) : 77);
      comm.broadcast(out.array, root);
      for (std::size_t i = 0; i < 100; ++i)
        ASSERT_EQ(out.get(i), expected(ReduceOp::kSum, size, i));
    }
  });
}

TEST_P(World, AllGatherAndReduceScatterPlaceEachRanksPart) {
  const int size = GetParam();
  const auto many = static_cast<std::size_t>(size);
  in_world(size, [&](Communicator& comm) {
    const auto me = static_cast<std::size_t>(comm.rank());
    for (const std::size_t count : {0UL, 1UL, 5UL, 300'001UL}) {
      const Numbers in = filled(DType::kInt32, count, comm.rank());
      const Numbers out(DType::kInt32, count * many);
      comm.all_gather(in.array, out.array);
      for (std::size_t rank = 0; rank < many && count != 0; ++rank) {
        ASSERT_EQ(out.get(rank * count), value(static_cast<int>(rank), 0));
        ASSERT_EQ(out.get((rank + 1) * count - 1), value(static_cast<int>(rank), count - 1));
      }
      const Numbers wide = filled(DType::kInt32, count * many, comm.rank());
      const Numbers part(DType::kInt32, count);
      comm.reduce_scatter(wide.array, part.array, ReduceOp::kSum);
      for (std::size_t i = 0; i < count; i += 97)
        ASSERT_EQ(part.get(i), expected(ReduceOp::kSum, size, me * count + i));
    }
  });
}

TEST_P(World, AllGatherAndReduceScatterWorkInPlace) {
  const int size = GetParam();
  const auto many = static_cast<std::size_t>(size);
  constexpr std::size_t kCount = 300'000;
  in_world(size, [&](Communicator& comm) {
    const auto me = static_cast<std::size_t>(comm.rank());
    Numbers all(DType::kInt32, kCount * many);
    for (std::size_t i = 0; i < kCount; ++i) all.set(me * kCount + i, value(comm.rank(), i));
    const Array mine(all.bytes.data() + me * kCount * 4, DType::kInt32, {kCount});
    comm.all_gather(mine, all.array);
    for (std::size_t rank = 0; rank < many; ++rank)
      ASSERT_EQ(all.get(rank * kCount + 9), value(static_cast<int>(rank), 9));
    Numbers wide = filled(DType::kInt32, kCount * many, comm.rank());
    const Array part(wide.bytes.data() + me * kCount * 4, DType::kInt32, {kCount});
    comm.reduce_scatter(wide.array, part, ReduceOp::kMax);
    for (std::size_t i = 0; i < kCount; i += 997)
      ASSERT_EQ(wide.get(me * kCount + i), expected(ReduceOp::kMax, size, me * kCount + i));
  });
}

TEST_P(World, AllToAllIsATransposition) {
  const int size = GetParam();
  const auto many = static_cast<std::size_t>(size);
  in_world(size, [&](Communicator& comm) {
    for (const std::size_t count : {1UL, 3UL, 200'000UL}) {
      Numbers in(DType::kInt32, count * many);
      const Numbers out(DType::kInt32, count * many);
      for (std::size_t to = 0; to < many; ++to)
        in.set(to * count, comm.rank() * 100 + static_cast<int>(to));
      comm.all_to_all(in.array, out.array);
      for (std::size_t from = 0; from < many; ++from)
        ASSERT_EQ(out.get(from * count), static_cast<int>(from) * 100 + comm.rank());
    }
  });
}

TEST_P(World, MessagesGoRoundARingInAGroup) {
  const int size = GetParam();
  if (size == 1) GTEST_SKIP() << "a rank cannot send to itself";
  in_world(size, [&](Communicator& comm) {
    const int next = (comm.rank() + 1) % size;
    const int last = (comm.rank() + size - 1) % size;
    for (const std::size_t count : {0UL, 1UL, 70'000UL}) {
      const Numbers first = filled(DType::kInt64, count, comm.rank());
      const Numbers second = filled(DType::kInt64, count, comm.rank() + 1);
      const Numbers a(DType::kInt64, count);
      const Numbers b(DType::kInt64, count);
      {
        const CommunicatorGroup group(comm);
        comm.send(first.array, next);
        comm.send(second.array, next);
        comm.recv(a.array, last);
        comm.recv(b.array, last);
      }
      for (std::size_t i = 0; i < count; i += 11) {
        ASSERT_EQ(a.get(i), value(last, i));
        ASSERT_EQ(b.get(i), value(last + 1, i));
      }
    }
  });
}

TEST_P(World, SplitMakesAWorldOfEachColour) {
  const int size = GetParam();
  in_world(size, [&](Communicator& comm) {
    const int color = comm.rank() % 2;
    auto part = comm.split(color, -comm.rank());  // in reverse order
    ASSERT_TRUE(part);
    const int members = (size + (color == 0 ? 1 : 0)) / 2;
    EXPECT_EQ(part->world_size(), members);
    EXPECT_EQ(part->rank(), members - 1 - comm.rank() / 2);
    Numbers one(DType::kInt32, 1);
    one.set(0, comm.rank());
    part->all_reduce(one.array, one.array, ReduceOp::kSum);
    int sum = 0;
    for (int rank = color; rank < size; rank += 2) sum += rank;
    EXPECT_EQ(one.get(0), sum);
    EXPECT_EQ(comm.split(comm.rank() == 0 ? -1 : 0, 0).has_value(), comm.rank() != 0);
    comm.barrier();
  });
}

}  // namespace
}  // namespace ionian
