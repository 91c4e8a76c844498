# The one way in. Each target first brings .venv up to date (see .ci/setup), then does its work.
# Extra flags: make demo ARGS="--seed 3"; make test ARGS="tests/env -x".

SHELL := /bin/bash
BIN := .venv/bin
ARGS ?=
TABLES ?= $(patsubst tests/benchmarks/bench_%.py,%,$(sort $(wildcard tests/benchmarks/bench_*.py)))

NOTHING :=
ROS_PACKAGES := $(subst $(NOTHING) $(NOTHING),:,$(wildcard $(CURDIR)/ros_ws/src/robot_rl_*))

# Headless rendering: EGL works with and without a GPU. macOS has its own way and needs nothing.
ifeq ($(shell uname -s),Linux)
export MUJOCO_GL ?= egl
endif

# A sourced ROS 2 is used as it is: the wheels in .venv, which would mix their libraries with its
# own, are told that they have nothing to do. One made for another Python is left out instead.
ifneq ($(filter jazzy kilted rolling,$(ROS_DISTRO)),)
export _ROS_WHEELS_BOOTSTRAP_COMPLETE := 1
else ifdef ROS_DISTRO
unexport PYTHONPATH LD_LIBRARY_PATH AMENT_PREFIX_PATH
endif

.PHONY: help demo test check bench doctor format setup stubs clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: setup  ## demonstrations -> base -> residual -> report, in the twin (10 minutes)
	$(BIN)/robot-rl demo $(ARGS)

test:  ## the whole test suite
	@.ci/setup tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

check: setup  ## lint, format, types, import direction
	@[ .typings/mujoco -nt .venv/.stamp ] || $(MAKE) --no-print-directory stubs
	@status=0; run() { echo "$$*"; "$$@" || status=1; }; \
	run $(BIN)/ruff check .; \
	run $(BIN)/ruff format --check .; \
	run $(BIN)/pyright --pythonpath $(BIN)/python; \
	run $(BIN)/lint-imports; \
	run env PYTHONPATH=$(ROS_PACKAGES) $(BIN)/lint-imports --config ros_ws/importlinter.toml; \
	exit $$status

bench: setup  ## every table of LOG.md into runs/bench/; one table: make bench TABLES=latency
	@status=0; for table in $(TABLES); do \
	  echo "== $$table"; $(BIN)/python tests/benchmarks/bench_$$table.py $(ARGS) || status=1; \
	done; exit $$status

doctor: setup  ## what works on this machine, and how to mend what does not
	$(BIN)/robot-rl doctor $(ARGS)

format: setup  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup:  ## only make or update .venv
	@.ci/setup

stubs: setup  # MuJoCo ships no types for its compiled modules; pyright reads these
	@rm -rf .typings
	@for module in mujoco mujoco._batch; do \
	  $(BIN)/pybind11-stubgen $$module -o .typings --ignore-all-errors >/dev/null 2>&1 || exit 1; \
	done
	@# Setters take any array-like; the generator knows only the type that the getter returns.
	@sed -E -i.orig 's/(arg1: )typing\.Annotated\[numpy\.typing\.NDArray[^"]*"[^"]*"\]/\1numpy.typing.ArrayLike/' \
	  .typings/mujoco/*.pyi

clean:  ## remove .venv and all caches; runs/ and data/ stay
	rm -rf .venv .typings .pytest_cache .ruff_cache .import_linter_cache .hypothesis build *.egg-info
