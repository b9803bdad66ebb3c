// Fairness between unrelated processes: they share nothing but a lock directory. Each writes down
// what it did with CLOCK_MONOTONIC; a checker reads the logs afterwards.
//
// A log's hold interval lies inside the real one (written after the grant, and before the release),
// so two that overlap prove a GPU held twice, and a checker that is silent about a younger
// request's grant is silent about a real one only if the older one still fitted beside it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <ctime>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <thread>

#include "ionian/lease.hpp"
#include "support/machines.hpp"
#include "support/temporary_directory.hpp"

namespace ionian {
namespace {

constexpr std::size_t kGpus = 8;

std::int64_t now_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

/// One request of one process. Times are CLOCK_MONOTONIC; 0: did not happen.
struct Entry {
  std::string process;
  std::size_t count = 0;
  std::int64_t asks = 0;      // before it enters the queue
  std::int64_t entered = 0;   // after
  std::int64_t granted = 0;   // after
  std::int64_t released = 0;  // before
  std::set<std::string> gpus;
};

/// Appends lines that are whole, whenever the writer is killed.
class Log {
 public:
  explicit Log(const std::string& path) : file_(path, std::ios::app) {}
  template <class... Words>
  void line(const Words&... words) {
    std::ostringstream text;
    ((text << words << ' '), ...);
    file_ << text.str() + "\n" << std::flush;
  }

 private:
  std::ofstream file_;
};

/// One process: asks for `count` GPUs, holds them for `hold` or a little more, gives them back;
/// `rounds` times.
void compete(const std::string& locks, const std::string& log_path, std::size_t count, int rounds,
             unsigned seed, std::chrono::seconds hold) {
  Log log(log_path);
  LeaseBook book(machines::dgx_h100(), {locks, GpuMatch::kUpgrade, true});
  std::mt19937 random(seed);
  const auto request = GpuRequest::parse("H100:" + std::to_string(count));
  const auto owner = this_process_as_owner("fair", std::to_string(count), "");
  for (int round = 0; round < rounds; ++round) {
    log.line("ask", count, now_ns());
    auto waiter = book.request(request, owner);
    log.line("entered", now_ns());
    std::optional<Lease> lease;
    while (!(lease = waiter.try_grant())) {
      pollfd polled{book.changes(), POLLIN, 0};
      ::poll(&polled, 1, static_cast<int>(waiter.retry_after().count()));
      book.drain_changes();
    }
    log.line("granted", now_ns(), lease->visible_devices());
    std::this_thread::sleep_for(hold + std::chrono::microseconds(random() % 1500));
    log.line("released", now_ns());
  }
}

std::vector<Entry> read_log(const std::string& path, const std::string& process) {
  std::vector<Entry> entries;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string what;
    words >> what;
    if (what == "ask") {
      entries.emplace_back();
      entries.back().process = process;
      words >> entries.back().count >> entries.back().asks;
    } else if (what == "entered") {
      words >> entries.back().entered;
    } else if (what == "granted") {
      std::string uuids;
      words >> entries.back().granted >> uuids;
      std::istringstream list(uuids);
      for (std::string uuid; std::getline(list, uuid, ',');) entries.back().gpus.insert(uuid);
    } else if (what == "released") {
      words >> entries.back().released;
    }
  }
  return entries;
}

/// I1: returns what was held twice at one time.
std::vector<std::string> held_twice(const std::vector<Entry>& entries) {
  std::map<std::string, std::vector<const Entry*>> by_gpu;
  for (const auto& entry : entries) {
    for (const auto& uuid : entry.gpus) by_gpu[uuid].push_back(&entry);
  }
  std::vector<std::string> wrong;
  for (auto& [uuid, holds] : by_gpu) {
    std::sort(holds.begin(), holds.end(),
              [](const Entry* a, const Entry* b) { return a->granted < b->granted; });
    for (std::size_t i = 1; i < holds.size(); ++i) {
      if (holds[i]->granted < holds[i - 1]->released)
        wrong.push_back(uuid + ": " + holds[i - 1]->process + " and " + holds[i]->process);
    }
  }
  return wrong;
}

/// I5: returns which older request was passed by a younger one that took what it needed. All of one
/// model, so every two requests conflict; a younger one may go first only where the older one,
/// which has not come to look yet, still fits beside it.
std::vector<std::string> passed(const std::vector<Entry>& entries) {
  std::vector<std::string> wrong;
  for (const auto& young : entries) {
    if (young.granted == 0) continue;
    std::size_t held = 0;
    for (const auto& other : entries) {
      if (other.granted != 0 && other.granted <= young.granted && young.granted < other.released)
        held += other.gpus.size();
    }
    for (const auto& old : entries) {
      const bool older = old.entered != 0 && old.entered < young.asks;
      if (!older || old.granted == 0 || old.granted < young.granted) continue;
      if (kGpus - held < old.count) wrong.push_back(old.process + " passed by " + young.process);
    }
  }
  return wrong;
}

class FairnessTest : public ::testing::Test {
 protected:
  pid_t start(std::size_t count, int rounds, std::chrono::seconds hold = {}) {
    const auto seed = static_cast<unsigned>(children.size());
    const std::string name = "log-" + std::to_string(children.size());
    const pid_t child = ::fork();
    if (child == 0) {
      compete(directory.path("locks"), directory.path(name), count, rounds, seed, hold);
      ::_exit(0);
    }
    children[child] = name;
    return child;
  }
  void wait_for(pid_t child) { ASSERT_EQ(::waitpid(child, nullptr, 0), child); }
  std::vector<Entry> entries() {
    std::vector<Entry> all;
    for (const auto& [child, name] : children) {
      auto each = read_log(directory.path(name), name);
      for (auto& entry : each) {
        // The end of a process that was killed is when the kill was about to be sent.
        if (entry.released == 0 && entry.granted != 0) entry.released = killed[child];
      }
      all.insert(all.end(), each.begin(), each.end());
    }
    return all;
  }
  void kill(pid_t child) {
    killed[child] = now_ns();
    ::kill(child, SIGKILL);
    wait_for(child);
  }
  void expect_fair(std::size_t grants) {
    const auto all = entries();
    const auto granted =
        std::count_if(all.begin(), all.end(), [](const Entry& each) { return each.granted != 0; });
    EXPECT_GE(static_cast<std::size_t>(granted), grants);
    EXPECT_THAT(held_twice(all), ::testing::IsEmpty());
    EXPECT_THAT(passed(all), ::testing::IsEmpty());
  }

  testing::TemporaryDirectory directory;
  std::map<pid_t, std::string> children;
  std::map<pid_t, std::int64_t> killed;
};

TEST_F(FairnessTest, AGangOfEightIsServedInItsTurnWhileSingleRequestsKeepComing) {
  std::vector<pid_t> small;
  for (int i = 0; i < 10; ++i) small.push_back(start(1, 1'000'000));
  const pid_t gang = start(kGpus, 25);
  wait_for(gang);  // ends only if it was served
  for (const pid_t child : small) kill(child);
  expect_fair(25 + small.size());
}

TEST_F(FairnessTest, ProcessesThatAreKilledAtAnyMoment_CostNobodyAGpuOrATurn) {
  std::vector<pid_t> stay;
  for (const std::size_t count : {1U, 1U, 2U, 3U, 8U}) stay.push_back(start(count, 60));
  std::mt19937 random(7);
  for (int i = 0; i < 40; ++i) {
    const pid_t victim = start(1 + random() % 4, 1'000'000);
    ::usleep(random() % 8000);  // where it is by then is the point
    kill(victim);
  }
  for (const pid_t child : stay) wait_for(child);
  expect_fair(5 * 60);
  LeaseBook book(machines::dgx_h100(), {directory.path("locks"), GpuMatch::kUpgrade, true});
  EXPECT_TRUE(book.queue().empty());
  EXPECT_TRUE(book.leases().empty());
}

TEST_F(FairnessTest, AThousandWaitingProcessesAreServedInTheirTurn) {
#if defined(__SANITIZE_THREAD__)
  constexpr std::size_t kProcesses = 200;  // each is twenty times slower there
#else
  constexpr std::size_t kProcesses = 1000;
#endif
  LeaseBook book(machines::dgx_h100(), {directory.path("locks"), GpuMatch::kUpgrade, true});
  const pid_t holder = start(kGpus, 1, std::chrono::hours(1));
  while (book.leases().size() < kGpus) ::usleep(1000);
  std::vector<pid_t> waiting;
  for (std::size_t i = 0; i < kProcesses; ++i) waiting.push_back(start(i % 100 == 99 ? 8 : 1, 1));
  while (book.queue().size() < kProcesses) ::usleep(10'000);
  kill(holder);
  for (const pid_t child : waiting) wait_for(child);
  expect_fair(kProcesses);
  EXPECT_TRUE(book.queue().empty());
}

TEST(FairnessChecker, SeesAGpuHeldTwice) {
  const std::vector<Entry> entries{{"a", 1, 1, 2, 3, 9, {"GPU-0"}},
                                   {"b", 1, 1, 2, 8, 10, {"GPU-0"}}};
  EXPECT_EQ(held_twice(entries).size(), 1U);
}

TEST(FairnessChecker, SeesAGangThatWasPassed) {
  const std::vector<Entry> entries{{"gang", 8, 1, 2, 20, 30, {"GPU-0", "GPU-1"}},
                                   {"late", 1, 3, 4, 5, 10, {"GPU-0"}}};
  EXPECT_EQ(passed(entries).size(), 1U);
}

}  // namespace
}  // namespace ionian
