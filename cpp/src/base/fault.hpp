// fault.hpp: named fault points, for tests. `FAULT("guardian.leased")` is nothing in a release
// build; where IONIAN_FAULTS is on, the environment can make it fail:
//
//   IONIAN_FAULT       what to do, parts joined by ";": name:probability:action[:times[:skip]]
//                      name    a point, or the beginning of several: "lease.*"
//                      action  crash (SIGKILL to itself) · stop (SIGSTOP) · delay=MS · errno=N
//                      times   in all processes together, 1 if not given; needs IONIAN_FAULT_HITS
//                      skip    how often each process passes it unharmed before, 0 if not given
//   IONIAN_FAULT_SEED  of the random numbers behind the probabilities
//   IONIAN_FAULT_HITS  a folder: every point that is reached makes a file of its name there,
//                      and each program "known.NAME" of those that it has
//
// A point stands alone on its line, in a function of a .cpp file that is no template and may throw:
// errno=N throws what throw_errno makes of it. Points are for any thread; after fork, too.
#pragma once

#if IONIAN_FAULTS
#include <string>
#include <vector>

namespace ionian::fault {

/// Does what the environment says for this point.
void hit(const char* name);
/// Returns the names of all points that are linked into this program, sorted.
std::vector<std::string> points();

}  // namespace ionian::fault

#define FAULT(point)                                                                       \
  do {                                                                                     \
    /* NOLINTNEXTLINE: the linker gathers the names */                                     \
    [[gnu::section("ionian_fault_points"), gnu::used]] static const char kPoint[] = point; \
    ::ionian::fault::hit(kPoint);                                                          \
  } while (false)
#else
#define FAULT(point) static_cast<void>(0)
#endif
