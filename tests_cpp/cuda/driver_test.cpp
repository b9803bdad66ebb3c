#include "cuda/driver.hpp"

#include <gtest/gtest.h>

#include "cuda/device.hpp"

namespace ionian::cuda {
namespace {

TEST(Driver, IsThereOrSaysWhyNot) {
  if (find_driver() != nullptr) {
    EXPECT_EQ(driver_reason(), "");
    EXPECT_NE(find_driver()->path, "");
    return;
  }
  EXPECT_NE(driver_reason(), "");
  try {
    driver();
    FAIL() << "expected NotFoundError";
  } catch (const NotFoundError& error) {
    EXPECT_NE(std::string(error.what()).find(driver_reason()), std::string::npos);
  }
}

TEST(Check, NamesWhatWasTriedAndTheCode) {
  EXPECT_NO_THROW(check(kSuccess, "nothing"));
  try {
    check(1, "do this");
    FAIL() << "expected CudaError";
  } catch (const CudaError& error) {
    EXPECT_EQ(error.code, 1);
    EXPECT_NE(std::string(error.what()).find("do this"), std::string::npos);
  }
}

TEST(Owners, EmptyOnesFreeNothing) {
  Stream stream;
  Stream other = std::move(stream);
  other.reset();
  EXPECT_FALSE(other);
}

}  // namespace
}  // namespace ionian::cuda
