# Planted faults. Each is one change to the text of one source file; the simulation, built with the
# changed file, must find a broken invariant within a million events. Nothing of this is in the
# sources themselves, and a text that is no longer there is an error when CMake runs.

# mutant(<name> <file of cpp/src/lease> <text> <in its place>)
function(mutant name file from to)
  set(source ${PROJECT_SOURCE_DIR}/cpp/src/lease/${file})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
  file(READ ${source} text)
  string(FIND "${text}" "${from}" at)
  if(at EQUAL -1)
    message(FATAL_ERROR "mutant ${name}: ${file} does not contain: ${from}")
  endif()
  string(REPLACE "${from}" "${to}" text "${text}")
  set(changed ${CMAKE_CURRENT_BINARY_DIR}/mutants/${name}.cpp)
  file(CONFIGURE OUTPUT ${changed} CONTENT "${text}" @ONLY)
  # What the changed file defines is not taken from ionian_lease.
  add_executable(mutant_${name} ${changed} $<TARGET_OBJECTS:simulation_main>)
  target_link_libraries(mutant_${name} PRIVATE
    ionian_test_support allocator_simulation ionian_lease)
  add_test(NAME Mutant.${name} COMMAND mutant_${name}
    --events 1000000 --threads 1 --expect-violation)
  set_tests_properties(Mutant.${name} PROPERTIES TIMEOUT ${IONIAN_TEST_TIMEOUT})
endfunction()

mutant(drop_drain allocator.cpp
  "state_.drain(gpu, now_ + kDrainLimit);"
  "state_.set_gpu(gpu, GpuState::kFree);")
mutant(drop_reservation allocator.cpp
  "if (claim.whole()) return false;"
  "if (claim.whole()) continue;")
mutant(drop_partial_reservation allocator.cpp
  "ahead_.push_back({&demand, &claim});"
  "")
mutant(too_few_fit demand.cpp
  "if (gpus.size() < alternative.count) continue;"
  "if (gpus.size() + 1 < alternative.count) continue;")
mutant(just_enough_does_not_fit allocator.cpp
  ".free < each.count ||"
  ".free <= each.count ||")
mutant(just_enough_on_a_host_does_not_fit allocator.cpp
  "std::size_t free = wanted.count;"
  "std::size_t free = wanted.count + 1;")
mutant(release_twice allocator.cpp
  "move(event.gpu, GpuState::kDraining, GpuState::kFree);"
  "if (event.gpu < state_.size() && state_.gpu(event.gpu) != GpuState::kFree) {
      state_.set_gpu(static_cast<std::uint32_t>(event.gpu), GpuState::kFree);
    }")
mutant(grant_twice allocator.cpp
  "if (state_.entries_by_request_.find(waiting.request) != kNone) return;"
  "")
mutant(forget_the_lost allocator.cpp
  "if (state_.gpus_[gpu].lost) {"
  "if (false) {")
mutant(youngest_first allocator.cpp
  "return a.arrival > b.arrival;"
  "return a.arrival < b.arrival;")
mutant(drain_for_ever allocator.cpp
  ".until <= now_"
  ".until < TimePoint{}")
mutant(no_wake_up allocator_state.cpp
  "if (by > 0) mark_changed(kind);"
  "")
mutant(claims_outlive_their_request allocator_state.cpp
  "mark_changed(kind);
  }
}

void State::set_gpu"
  "}
}

void State::set_gpu")
