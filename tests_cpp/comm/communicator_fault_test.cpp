// What a communicator over shared memory says when ranks disagree, come late, or die.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <functional>
#include <thread>

#include "ionian/communicator.hpp"
#include "ionian/error.hpp"

namespace ionian {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

CommunicatorOptions within(std::chrono::milliseconds timeout) {
  CommunicatorOptions options;
  options.timeout = timeout;
  return options;
}

/// Runs a body for each of two ranks in threads; returns what each threw.
std::vector<std::string> two_ranks(const CommunicatorOptions& options,
                                   const std::function<void(Communicator&)>& body) {
  auto ranks =
      make_communicators({Array::kHost, Array::kHost}, CommBackend::kSharedMemory, options);
  std::vector<std::string> errors(2);
  std::vector<std::thread> threads;
  for (auto& rank : ranks) {
    threads.emplace_back([&] {
      try {
        body(rank);
      } catch (const Error& error) {
        errors[static_cast<std::size_t>(rank.rank())] =
            std::string(error.kind()) + ": " + error.what();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  return errors;
}

struct Disagreement {
  const char* name;
  std::function<void(Communicator&)> body;
  const char* text;
};

void reduce_floats(Communicator& comm, std::int64_t count, ReduceOp op = ReduceOp::kSum) {
  std::vector<float> data(static_cast<std::size_t>(count));
  const Array array(data.data(), DType::kFloat32, {count});
  comm.all_reduce(array, array, op);
}

TEST(Disagreement, IsTheErrorOfEveryRankAndNotAHang) {
  const std::vector<Disagreement> table = {
      {"size", [](Communicator& comm) { reduce_floats(comm, 3 + comm.rank()); }, "4 elements"},
      {"operation",
       [](Communicator& comm) {
         reduce_floats(comm, 1, comm.rank() == 0 ? ReduceOp::kSum : ReduceOp::kMax);
       },
       "max"},
      {"kind",
       [](Communicator& comm) {
         if (comm.rank() == 0) return comm.barrier();
         reduce_floats(comm, 1);
       },
       "barrier()"},
      {"root",
       [](Communicator& comm) {
         float x = 0;
         comm.broadcast(Array(&x, DType::kFloat32, {1}), comm.rank());
       },
       "root 1"},
  };
  for (const auto& row : table) {
    for (const auto& error : two_ranks({}, row.body)) {
      EXPECT_THAT(error, HasSubstr("InvalidError")) << row.name;
      EXPECT_THAT(error, HasSubstr(row.text)) << row.name;
    }
  }
}

TEST(Disagreement, LeavesTheCommunicatorUsable) {
  const auto errors = two_ranks({}, [](Communicator& comm) {
    EXPECT_THROW(reduce_floats(comm, 1 + comm.rank()), InvalidError);
    reduce_floats(comm, 5);
  });
  EXPECT_THAT(errors, ::testing::Each(""));
}

TEST(Timeout, SaysWhatTheMissingRankDidLast) {
  std::atomic<bool> over{false};
  const auto errors = two_ranks(within(200ms), [&](Communicator& comm) {
    reduce_floats(comm, 7);
    if (comm.rank() == 1) {
      while (!over) std::this_thread::sleep_for(1ms);
      return;
    }
    try {
      comm.barrier();
    } catch (...) {
      over = true;
      throw;
    }
  });
  EXPECT_THAT(errors[0], HasSubstr("TimeoutError"));
  EXPECT_THAT(errors[0], HasSubstr("rank 1 was last in all_reduce(float32, 7 elements, sum)"));
}

TEST(Timeout, AlsoEndsJoining) {
  const std::string id = Communicator::unique_id(CommBackend::kSharedMemory);
  try {
    const Communicator comm(id, 0, 2, Array::kHost, within(100ms));
    FAIL() << "expected TimeoutError";
  } catch (const TimeoutError& error) {
    EXPECT_THAT(error.what(), HasSubstr("rank 1 has not joined"));
  }
}

TEST(Left, ARankThatClosedIsNamed) {
  const auto errors = two_ranks({}, [](Communicator& comm) {
    if (comm.rank() == 1) {
      const Communicator gone = std::move(comm);
      return;
    }
    comm.barrier();
  });
  EXPECT_THAT(errors[0], HasSubstr("ConnectionError"));
  EXPECT_THAT(errors[0], HasSubstr("rank 1 has closed"));
}

TEST(Killed, ARankInACollectiveFailsTheOthersCallAtOnce) {
  const std::string id = Communicator::unique_id(CommBackend::kSharedMemory);
  const pid_t child = ::fork();
  if (child == 0) {
    Communicator comm(id, 1, 2, Array::kHost);
    comm.barrier();
    for (;;) ::pause();
  }
  Communicator comm(id, 0, 2, Array::kHost);
  comm.barrier();
  ::kill(child, SIGKILL);
  try {
    comm.barrier();
    FAIL() << "expected ConnectionError";
  } catch (const ConnectionError& error) {
    EXPECT_THAT(error.what(), HasSubstr("has ended"));
  }
  EXPECT_THROW(comm.barrier(), ExecutionError) << "and it stays so";
  ::waitpid(child, nullptr, 0);
}

TEST(Abort, EndsAWaitingCallOfEveryRank) {
  const std::string id = Communicator::unique_id(CommBackend::kSharedMemory);
  std::vector<std::thread> threads;
  std::atomic<bool> returned{false};  // abort() is over, so its communicator may go
  std::atomic<Communicator*> first{nullptr};
  for (int rank = 0; rank < 2; ++rank) {
    threads.emplace_back([&, rank] {
      Communicator comm(id, rank, 3, Array::kHost);
      if (rank == 0) first = &comm;
      EXPECT_THROW(comm.barrier(), ExecutionError);
      while (!returned) std::this_thread::sleep_for(1ms);
    });
  }
  const Communicator third(id, 2, 3, Array::kHost);
  while (first == nullptr) std::this_thread::sleep_for(1ms);
  first.load()->abort();
  returned = true;
  for (auto& thread : threads) thread.join();
}

TEST(Interrupted, AWaitEndsWhenItIsToldTo) {
  CommunicatorOptions options;
  options.interrupted = [] { return true; };
  const std::string id = Communicator::unique_id(CommBackend::kSharedMemory);
  EXPECT_THROW(Communicator(id, 0, 2, Array::kHost, options), TimeoutError);
}

TEST(BadArguments, AreRefusedWithWhatWasExpected) {
  auto ranks = make_communicators({Array::kHost}, CommBackend::kSharedMemory);
  Communicator& comm = ranks.front();
  std::vector<float> data(16);
  const Array four(data.data(), DType::kFloat32, {4});
  const Array five(data.data(), DType::kFloat32, {5});
  const Array ints(data.data(), DType::kInt32, {4});
  Array apart(data.data(), DType::kFloat32, {4});
  apart.steps[0] = 2;
  const Array on_gpu(data.data(), DType::kFloat32, {4}, 0);
  const std::vector<std::pair<std::function<void()>, const char*>> table = {
      {[&] { comm.all_reduce(four, five, ReduceOp::kSum); }, "4 elements would have to fit 5"},
      {[&] { comm.all_reduce(four, ints, ReduceOp::kSum); }, "expected one type"},
      {[&] { comm.all_reduce(apart, four, ReduceOp::kSum); }, "expected a contiguous array"},
      {[&] { comm.all_reduce(on_gpu, on_gpu, ReduceOp::kSum); },
       "this communicator is on the host"},
      {[&] { comm.broadcast(four, 1); }, "there is no rank 1"},
      {[&] { comm.send(four, 0); }, "cannot send to itself"},
      {[&] { comm.all_to_all(four, four); }, "in place"},
      {[&] { comm.group_end(); }, "without group_start"},
      {[&] { Communicator("nonsense", 0, 1, Array::kHost); }, "no id"},
      {[&] { Communicator("Sx", 0, 1, Array::kHost); }, "expected"},
      {[&] {
         Communicator(Communicator::unique_id(CommBackend::kSharedMemory), 2, 2, Array::kHost);
       },
       "0 <= rank < world_size"},
  };
  for (const auto& [call, text] : table) {
    try {
      call();
      ADD_FAILURE() << "expected an error with: " << text;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(text));
    }
  }
}

TEST(Joined, NoDescriptorIsLeft) {
  const auto count = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                         std::filesystem::directory_iterator());
  };
  const auto before = count();
  const auto ranks =
      make_communicators({Array::kHost, Array::kHost, Array::kHost}, CommBackend::kSharedMemory);
  EXPECT_EQ(count(), before);
}

}  // namespace
}  // namespace ionian
