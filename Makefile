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
asan tsan: %: build/%/build.ninja
	cmake --build --preset $@
	ctest --preset $@ -j $(JOBS)

.PHONY: soak
soak: build-cpp  ## the long forms of the random tests: minutes
	build/default/tests_cpp/lease/simulation --events 1000000000

.PHONY: bench
bench: $(PACKAGE) build/release/build.ninja  ## every benchmark
	cmake --build --preset release
	@for program in build/release/tests_cpp/bench/*_bench; do "$$program" || exit 1; done
	$(BIN)/python -m tests_py.bench $(BENCH_ARGS)

.PHONY: wheel clean
wheel: $(TOOLS)  ## a wheel in dist/
	$(BIN)/pip wheel --no-build-isolation --no-deps --wheel-dir dist .
clean:  ## removes .venv and everything built
	rm -rf build dist $(VENV)
