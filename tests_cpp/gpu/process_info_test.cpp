#include "gpu/process_info.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace ionian {
namespace {

namespace fs = std::filesystem;

/// A file tree to stand for /proc or /sys.
class ProcessInfo : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "process_info_XXXXXX").string();
    root_ = ::mkdtemp(name.data());
  }
  void TearDown() override { fs::remove_all(root_); }

  void file(const std::string& path, const std::string& text) const {
    fs::create_directories(fs::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text << '\n';
  }
  void link(const std::string& path, const std::string& target) const {
    fs::create_directories(fs::path(root_ + path).parent_path());
    fs::create_symlink(target, root_ + path);
  }
  std::string root_;
};

TEST_F(ProcessInfo, NamesUserAndCommandInTheFirstNamespace) {
  link("/self/ns/pid", "pid:[4026531836]");
  file("/42/comm", "python3");
  const auto process = describe_process(42, 1000, root_);
  EXPECT_EQ(process.pid, 42);
  EXPECT_EQ(process.memory_bytes, 1000U);
  EXPECT_EQ(process.command, "python3");
  EXPECT_FALSE(process.user.empty());
}

TEST_F(ProcessInfo, DoesNotNameAnUnrelatedProcessOfAContainer) {
  link("/self/ns/pid", "pid:[4026532000]");
  file("/42/comm", "innocent");
  link("/42/fd/3", "/tmp/data");
  EXPECT_EQ(describe_process(42, 0, root_), (DeviceProcess{42, 0, "", "", ""}));
  link("/42/fd/4", "/dev/nvidia0");
  EXPECT_EQ(describe_process(42, 0, root_).command, "innocent");
}

TEST_F(ProcessInfo, KeepsTheNumberOfAProcessThatIsGone) {
  link("/self/ns/pid", "pid:[4026531836]");
  EXPECT_EQ(describe_process(43, 7, root_), (DeviceProcess{43, 7, "", "", ""}));
  EXPECT_EQ(describe_process(-1, 7, root_), (DeviceProcess{-1, 7, "", "", ""}));
}

TEST_F(ProcessInfo, ReadsTheNumaNodeOfAPciDevice) {
  file("/bus/pci/devices/0000:3b:00.0/numa_node", "1");
  file("/bus/pci/devices/0000:3c:00.0/numa_node", "-1");
  EXPECT_EQ(pci_numa_node("00000000:3B:00.0", root_), 1);
  EXPECT_EQ(pci_numa_node("00000000:3C:00.0", root_), -1);
  EXPECT_EQ(pci_numa_node("00000000:3D:00.0", root_), -1);
  for (const char* bad : {"", ":", "0:1", "0000000/../../etc:passwd", "0000:../x"}) {
    EXPECT_EQ(pci_numa_node(bad, root_), -1) << bad;
  }
}

}  // namespace
}  // namespace ionian
