#include "gpu/watchdog.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

namespace ionian {
namespace {

using namespace std::chrono_literals;

#if defined(__SANITIZE_THREAD__)
constexpr bool kThreadSanitizer = true;
#elif defined(__has_feature)
constexpr bool kThreadSanitizer = __has_feature(thread_sanitizer);
#else
constexpr bool kThreadSanitizer = false;
#endif

/// Work that does not return before it is told to.
struct Stuck {
  std::shared_ptr<std::atomic<bool>> go = std::make_shared<std::atomic<bool>>(false);
  void operator()() const {
    while (!*go) std::this_thread::sleep_for(1ms);
  }
  /// Lets it return, and waits until the watchdog is free again.
  void release() const {
    *go = true;
    while (!run_watched([] {}, 10s).empty()) std::this_thread::sleep_for(1ms);
  }
};

TEST(Watchdog, ReturnsOnceTheWorkHasRun) {
  auto ran = std::make_shared<bool>(false);
  EXPECT_EQ(run_watched([ran] { *ran = true; }, 10s), "");
  EXPECT_TRUE(*ran);
}

TEST(Watchdog, GivesUpWorkThatHangsAndFailsFastUntilItEnds) {
  const Stuck stuck;
  EXPECT_NE(run_watched(stuck, 20ms).find("has not answered"), std::string::npos);
  auto ran = std::make_shared<std::atomic<bool>>(false);
  // With an hour to wait this returns only because the watchdog remembers.
  EXPECT_NE(run_watched([ran] { *ran = true; }, 1h).find("has not answered"), std::string::npos);
  EXPECT_FALSE(*ran);
  stuck.release();
  EXPECT_EQ(run_watched([ran] { *ran = true; }, 10s), "");
  EXPECT_TRUE(*ran);
}

TEST(Watchdog, LetsOneIn) {
  auto inside = std::make_shared<std::atomic<int>>(0);
  auto most = std::make_shared<std::atomic<int>>(0);
  std::vector<std::thread> threads;
  threads.reserve(8);
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([=] {
      EXPECT_EQ(run_watched(
                    [=] {
                      const int now = ++*inside;
                      if (now > *most) *most = now;
                      std::this_thread::yield();
                      --*inside;
                    },
                    60s),
                "");
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(*most, 1);
}

TEST(Watchdog, TurnsAnExceptionIntoTheReason) {
  EXPECT_NE(run_watched([] { throw std::runtime_error("no memory"); }, 10s).find("no memory"),
            std::string::npos);
  EXPECT_EQ(run_watched([] {}, 10s), "");
}

TEST(Watchdog, WorksInAChildForkedWhileTheParentIsStuck) {
  if (kThreadSanitizer) GTEST_SKIP() << "it allows no thread after such a fork";
  const Stuck stuck;
  EXPECT_NE(run_watched(stuck, 20ms), "");
  const pid_t child = ::fork();
  if (child == 0) ::_exit(run_watched([] {}, 10s).empty() ? 0 : 1);
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  stuck.release();
}

}  // namespace
}  // namespace ionian
