# `make help` lists what can be made. Everything is set up on the way: tools and the package itself in
# .venv, builds in build/. A target that is up to date does nothing.
PYTHON ?= python3
JOBS ?= $(shell nproc)
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export CMAKE_BUILD_PARALLEL_LEVEL := $(JOBS)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

SYSTEM := build/.system
TOOLS := $(VENV)/.tools
PACKAGE := $(VENV)/.package
CPP_SOURCES := $(shell find cpp cmake -type f -not -name '*.md') CMakeLists.txt
PACKAGE_SOURCES := $(CPP_SOURCES) $(shell find bindings python -type f -not -path '*/__pycache__/*') \
  pyproject.toml README.md
CPP_FILES = $(shell find cpp bindings tests_cpp examples -name '*.cpp' -o -name '*.hpp')
PYTHON_FILES := python tests_py examples
CONFIGURE = cmake --preset $(1) -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python --log-level=WARNING

.PHONY: help
help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---- set-up ---------------------------------------------------------------------------------------

$(SYSTEM): .ci/system-packages
	@mkdir -p $(@D)
	@.ci/system-packages $(PYTHON)
	@touch $@

# What builds the rest; the other tools and ionian's own dependencies come with the package.
$(TOOLS): | $(SYSTEM)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV_ARGS) $(VENV)
	$(BIN)/pip install --quiet "scikit-build-core>=0.10" "pybind11>=2.13" "cmake>=3.25" "ninja>=1.11"
	@touch $@

$(PACKAGE): $(TOOLS) $(PACKAGE_SOURCES)
	$(BIN)/pip install --quiet --no-build-isolation ".[dev]" -Ccmake.define.IONIAN_WERROR=ON
	@touch $@

build/%/build.ninja: CMakePresets.json CMakeLists.txt | $(TOOLS)
	$(call CONFIGURE,$*)
	@touch $@

.PHONY: setup build build-cpp
setup: $(PACKAGE)  ## tools and ionian in .venv
build: $(PACKAGE) build-cpp  ## the Python package and the C++ libraries with their tests
build-cpp: build/default/build.ninja
	cmake --build --preset default

# ---- for users ------------------------------------------------------------------------------------

.PHONY: demo
demo: $(PACKAGE)  ## the main job on real data: on real GPUs if there are any, else simulated ones
	@if ionian gpus; then \
	  ionian run examples/python/digits_sweep.py; \
	else \
	  echo "There is no real GPU here, so the demo runs on two simulated ones, A10G:2."; \
	  ionian run --simulate A10G:2 examples/python/digits_sweep.py; \
	fi

# ---- for developers -------------------------------------------------------------------------------

.PHONY: test test-cpp test-python
test: test-cpp test-python  ## every test, C++ and Python
test-cpp: build-cpp
	ctest --preset default -j $(JOBS)
test-python: $(PACKAGE) build-cpp
	$(BIN)/python -m pytest $(PYTEST_ARGS)

.PHONY: check format tidy
check: $(PACKAGE)  ## format, lint and types of everything
	@clang-format --dry-run -Werror $(CPP_FILES)
	@ruff format --check $(PYTHON_FILES)
	@ruff check $(PYTHON_FILES)
	@mypy python/ionian
	@$(MAKE) --no-print-directory tidy
	@echo "check: all well"
tidy: build/tidy/build.ninja
	cmake --build --preset tidy
format: $(PACKAGE)  ## formats everything in place
	@clang-format -i $(CPP_FILES)
	@ruff check --fix-only --quiet $(PYTHON_FILES)
	@ruff format $(PYTHON_FILES)

.PHONY: sanitize asan tsan
sanitize: asan tsan  ## the C++ tests under the address, undefined-behaviour and thread sanitizers
# What a sanitizer finds goes to build/<preset>/reports, also from guardians, launchers and workers, whose
# ends a test need not notice: one report there is a failure. That registers cannot be had is said of a
# process that was killed while the leak checker stopped it.
asan tsan: %: build/%/build.ninja
	cmake --build --preset $@
	@rm -rf build/$@/reports && mkdir -p build/$@/reports
	@ctest --preset $@ -j $(JOBS); ended=$$?; \
	  if cat build/$@/reports/* 2>/dev/null | grep -v 'Unable to get registers from thread'; then echo "$@: see build/$@/reports"; exit 1; fi; \
	  exit $$ended

# What fuzzing and coverage need beyond the rest; the file is a program that was linked with it.
CLANG := build/.clang
$(CLANG):
	@mkdir -p $(@D)
	@{ command -v llvm-profdata && command -v llvm-cov && echo 'int main() {}' \
	    | clang++ -x c++ -fprofile-instr-generate -o $@ -; } >/dev/null 2>&1 || { \
	  echo "make fuzz and make coverage need clang and llvm; as root: apt-get install clang" \
	    "libclang-rt-dev llvm (names in Debian and Ubuntu)" >&2; exit 1; }

# FUZZ_SECONDS for each target; what is new goes to build/fuzz/corpus, a crash to build/fuzz/crashes, for
# `build/fuzz/tests_cpp/fuzz/fuzz_<name> FILE`.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS = $(patsubst tests_cpp/fuzz/fuzz_%.cpp,%,$(wildcard tests_cpp/fuzz/fuzz_*.cpp))
.PHONY: fuzz coverage cppcheck
fuzz: $(CLANG) build/fuzz/build.ninja  ## every fuzz target for FUZZ_SECONDS
	cmake --build --preset fuzz
	@for name in $(FUZZ_TARGETS); do \
	  mkdir -p build/fuzz/corpus/$$name build/fuzz/crashes; \
	  echo "fuzz: $$name"; \
	  build/fuzz/tests_cpp/fuzz/fuzz_$$name -max_total_time=$(FUZZ_SECONDS) -max_len=4096 \
	    -malloc_limit_mb=256 -print_final_stats=1 -artifact_prefix=build/fuzz/crashes/$$name- \
	    build/fuzz/corpus/$$name tests_cpp/fuzz/corpus/$$name 2>build/fuzz/$$name.log \
	    || { tail -n 40 build/fuzz/$$name.log; exit 1; }; \
	  grep -E 'number_of_executed_units|peak_rss_mb' build/fuzz/$$name.log; \
	done
# Lines and branches of what must be covered whole.
COVERED := cpp/src/gpu/gpu_request_parser.cpp cpp/src/gpu/text.cpp cpp/src/gpu/visible_devices.cpp \
  cpp/src/exec/frame.cpp cpp/src/base/wire.cpp cpp/src/exec/message.hpp \
  cpp/src/lease/lease_record.cpp cpp/src/lease/allocator.cpp cpp/src/lease/allocator_state.cpp \
  cpp/src/lease/allocator_state.hpp cpp/src/lease/demand.cpp cpp/src/lease/policy.cpp \
  cpp/src/lease/satisfiable.cpp
COVERING := gpu/gpu_test lease/lease_test exec/exec_test $(FUZZ_TARGETS:%=fuzz/replay_%)
coverage: export CCACHE_BASEDIR :=  # llvm-cov must find the sources where they are
coverage: $(CLANG) build/coverage/build.ninja  ## lines and branches of parser, decoder and allocator
	cmake --build --preset coverage --target $(notdir $(COVERING))
	@rm -rf build/coverage/profiles && mkdir -p build/coverage/profiles
	@for name in $(FUZZ_TARGETS); do \
	  LLVM_PROFILE_FILE=build/coverage/profiles/replay-%p.profraw \
	    build/coverage/tests_cpp/fuzz/replay_$$name tests_cpp/fuzz/corpus/$$name || exit 1; \
	done
	@for room in gpu lease exec; do \
	  LLVM_PROFILE_FILE=$(CURDIR)/build/coverage/profiles/$$room-%p.profraw \
	    build/coverage/tests_cpp/$$room/$${room}_test --gtest_brief=1 \
	    --gtest_filter='-Executor*:ExecutorFault*' || exit 1; \
	done
	@llvm-profdata merge -sparse build/coverage/profiles/*.profraw -o build/coverage/all.profdata
	@llvm-cov report -instr-profile=build/coverage/all.profdata \
	  build/coverage/tests_cpp/$(firstword $(COVERING)) \
	  $(COVERING:%=-object build/coverage/tests_cpp/%) $(COVERED) | tee build/coverage/report.txt
cppcheck:  ## cppcheck over the core, where it is installed
	cppcheck --quiet --std=c++20 --enable=warning,performance,portability --inline-suppr \
	  --suppressions-list=cpp/.cppcheck --error-exitcode=1 -j $(JOBS) -I cpp/include -I cpp/src cpp/src

.PHONY: soak
soak: $(PACKAGE) build-cpp  ## the long forms of the random tests: minutes
	build/default/tests_cpp/lease/simulation --events 1000000000
	$(BIN)/python tests_py/kills/driver.py --kills 1000

.PHONY: bench bench-multi
bench: $(PACKAGE) build/release/build.ninja  ## every benchmark
	cmake --build --preset release
	@for program in build/release/tests_cpp/bench/*_bench; do "$$program" || exit 1; done
	$(BIN)/python -m tests_py.bench $(BENCH_ARGS)
bench-multi: $(PACKAGE)  ## the rows for two GPUs; where there is one, on two slices of it, and says so
	$(BIN)/python -m tests_py.bench --row 15 --row 16 --row 17 --row 18 $(BENCH_ARGS)

.PHONY: wheel clean
wheel: $(TOOLS)  ## a wheel in dist/
	$(BIN)/pip wheel --no-build-isolation --no-deps --wheel-dir dist .
clean:  ## removes .venv and everything built
	rm -rf build dist $(VENV)
