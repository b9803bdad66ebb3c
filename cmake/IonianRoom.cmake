# One static library per room, and only the edges that DEPS names: base <- gpu <- lease <- exec.
include(GNUInstallDirs)
find_package(Threads REQUIRED)

add_library(ionian_flags INTERFACE)
target_compile_features(ionian_flags INTERFACE cxx_std_20)
target_compile_options(ionian_flags INTERFACE
  $<BUILD_INTERFACE:-Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor>
  $<BUILD_INTERFACE:$<$<BOOL:${IONIAN_WERROR}>:-Werror>>
  # GCC 12 sees overlaps in std::string where there are none (its bug 105651, mended in 13).
  $<BUILD_INTERFACE:$<$<AND:$<CXX_COMPILER_ID:GNU>,$<VERSION_LESS:$<CXX_COMPILER_VERSION>,13>>:-Wno-restrict>>)
if(IONIAN_SANITIZE)
  target_compile_options(ionian_flags INTERFACE
    -fsanitize=${IONIAN_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all
    # GCC's own manual: under a sanitizer this warning is often wrong.
    $<BUILD_INTERFACE:$<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>>)
  target_link_options(ionian_flags INTERFACE -fsanitize=${IONIAN_SANITIZE})
endif()
if(IONIAN_FAULTS)
  target_compile_definitions(ionian_flags INTERFACE IONIAN_FAULTS=1)
endif()

# ionian_room(<name> SOURCES a.cpp b.cpp DEPS base gpu)
function(ionian_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;DEPS" ${ARGN})
  add_library(ionian_${name} STATIC ${ROOM_SOURCES})
  add_library(ionian::${name} ALIAS ionian_${name})
  set_target_properties(ionian_${name} PROPERTIES EXPORT_NAME ${name})
  target_include_directories(ionian_${name}
    PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/cpp/include>
           $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
    PRIVATE ${PROJECT_SOURCE_DIR}/cpp/src)
  target_link_libraries(ionian_${name} PRIVATE $<BUILD_INTERFACE:ionian_flags>
                                       PUBLIC Threads::Threads)
  foreach(dep IN LISTS ROOM_DEPS)
    target_link_libraries(ionian_${name} PUBLIC ionian_${dep})
  endforeach()
  set_property(GLOBAL APPEND PROPERTY IONIAN_ROOMS ionian_${name})
endfunction()
