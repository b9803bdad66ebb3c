// The queue as it is written down: a file that spares reading every ticket, and may be wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "ionian/lease.hpp"
#include "lease/queue_order.hpp"
#include "support/machines.hpp"
#include "support/temporary_directory.hpp"

namespace ionian {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

class LeaseQueueTest : public ::testing::Test {
 protected:
  LeaseWaiter wait(const std::string& request, const std::vector<std::string>& held = {}) {
    return book.request(GpuRequest::parse(request), this_process_as_owner("app", "f", "run"), held);
  }
  std::vector<std::uint64_t> numbers() {
    std::vector<std::uint64_t> all;
    for (const auto& ticket : book.queue()) all.push_back(ticket.number);
    return all;
  }
  void write(const std::string& text) { std::ofstream(directory.path("queue")) << text; }
  std::string read() {
    std::ostringstream text;
    text << std::ifstream(directory.path("queue")).rdbuf();
    return text.str();
  }

  testing::TemporaryDirectory directory;
  const Inventory machine = machines::one_a10g();
  LeaseBook book{machine, {directory.path(), GpuMatch::kUpgrade, true}};
};

TEST_F(LeaseQueueTest, ALostOrderIsFoundAgainInTheTickets) {
  const Lease held = book.acquire(GpuRequest::parse("any"), this_process_as_owner("a", "f", "r"));
  const auto first = wait("any");
  const auto second = wait("any");
  const auto before = numbers();
  ASSERT_THAT(before, SizeIs(2));
  const std::string whole = read();
  for (const std::string& text : {std::string(), std::string("nonsense\n"), whole.substr(0, 25),
                                  whole.substr(0, whole.size() - 1), whole + "9 9\n"}) {
    write(text);
    EXPECT_EQ(numbers(), before) << text;
    EXPECT_EQ(read(), to_string({{before[0], 1, false}, {before[1], 2, false}})) << text;
  }
  std::filesystem::remove(directory.path("queue"));
  const auto third = wait("any");
  EXPECT_THAT(numbers(), ElementsAre(before[0], before[1], before[1] + 1));
}

TEST_F(LeaseQueueTest, ARequestThatWasLeftOutPutsItselfBack) {
  Lease held = book.acquire(GpuRequest::parse("any"), this_process_as_owner("a", "f", "r"));
  auto first = wait("any");
  auto second = wait("any");
  const auto before = numbers();
  write(to_string({{before[1], 2, false}}));
  ASSERT_THAT(numbers(), ElementsAre(before[1]));
  EXPECT_FALSE(first.try_grant());
  EXPECT_EQ(numbers(), before);
  held.release();
  EXPECT_FALSE(second.try_grant());
  EXPECT_TRUE(first.try_grant());
}

TEST_F(LeaseQueueTest, ASlotThatIsSomebodyElsesByNowIsNotTakenForTheOneWhoHadIt) {
  const Lease held = book.acquire(GpuRequest::parse("any"), this_process_as_owner("a", "f", "r"));
  const auto first = wait("any");
  const auto number = numbers().front();
  write(to_string({{number, 1, false}, {number + 7, 1, false}}));
  EXPECT_THAT(numbers(), ElementsAre(number));
}

TEST_F(LeaseQueueTest, ThoseWhoHaveLeftAreForgotten_HoweverManyCameAndWent) {
  Lease held = book.acquire(GpuRequest::parse("any"), this_process_as_owner("a", "f", "r"));
  auto stays = wait("any");
  for (int i = 0; i < 500; ++i) static_cast<void>(wait("any"));
  const auto order = parse_queue_order(read());
  ASSERT_TRUE(order);
  EXPECT_LE(order->size(), 17U);
  std::size_t tickets = 0;
  for (const auto& each : std::filesystem::directory_iterator(directory.path())) {
    if (each.path().filename().string().starts_with("ticket-")) ++tickets;
  }
  EXPECT_LE(tickets, 17U) << "slots are used again";
}

TEST_F(LeaseQueueTest, WhoComesAfterManyWhoHaveLeftClearsTheWay) {
  Lease held = book.acquire(GpuRequest::parse("any"), this_process_as_owner("a", "f", "r"));
  std::vector<LeaseWaiter> leave;
  for (int i = 0; i < 40; ++i) leave.push_back(wait("any"));
  auto stays = wait("any");
  EXPECT_FALSE(stays.try_grant());
  EXPECT_EQ(stays.position(), 40U);
  leave.clear();
  held.release();
  EXPECT_TRUE(stays.try_grant());
  EXPECT_THAT(*parse_queue_order(read()), SizeIs(1));
}

TEST_F(LeaseQueueTest, OnlyThoseInFrontAreWokenByEveryChange) {
  const Lease held = book.acquire(GpuRequest::parse("any"), this_process_as_owner("a", "f", "r"));
  EXPECT_GE(book.changes(), 0) << "who waits for nothing hears of those who want what it holds";
  std::vector<LeaseWaiter> ahead;
  for (int i = 0; i < 100; ++i) ahead.push_back(wait("any"));
  LeaseBook other(machine, {directory.path(), GpuMatch::kUpgrade, true});
  auto last = other.request(GpuRequest::parse("any"), this_process_as_owner("a", "f", "r"));
  EXPECT_FALSE(last.try_grant());
  EXPECT_EQ(last.position(), 100U);
  EXPECT_EQ(other.changes(), -1);
  EXPECT_EQ(last.retry_after(), std::chrono::milliseconds(500));
  ahead.erase(ahead.begin() + 5, ahead.end());
  // The queue is looked through once it has doubled.
  for (int i = 0; i < 64; ++i) static_cast<void>(wait("any"));
  EXPECT_FALSE(last.try_grant());
  EXPECT_LT(last.position(), 16U);
  EXPECT_GE(other.changes(), 0);
  EXPECT_LE(last.retry_after(), std::chrono::milliseconds(2)) << "it may have missed a change";
}

}  // namespace
}  // namespace ionian
