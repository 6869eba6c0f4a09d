PYTHON ?= python3
BIN := .venv/bin

.PHONY: other-python help install test test-slow lint format docs demo sweep-demo benchmarks lock clean

help:  ## Lists the targets.
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

# What JAX is to compute on: as in the environment that is there, or else what
# this machine has.
BUILDS := cpu cuda12 cuda13 tpu
JAX ?= $(or $(patsubst .venv/installed-%,%,$(wildcard .venv/installed-*)), \
  $(shell $(PYTHON) -m experiments.accelerators),cpu)
BUILD := $(strip $(JAX))
ifeq ($(filter $(BUILDS),$(BUILD)),)
  $(error JAX must be one of $(BUILDS), not '$(BUILD)': \
    for example make install JAX=cuda13)
endif
LOCKS := requirements.lock \
  $(filter %-$(BUILD).lock,$(wildcard requirements-*.lock))
REQUIREMENTS := $(LOCKS:%=-r %)

# An environment of another Python than the one that is asked for is made anew.
VERSION := import sys; print(sys.version_info[:2])
ifneq ($(origin PYTHON),file)
ifneq ($(wildcard $(BIN)/python),)
ifneq ($(shell $(PYTHON) -c '$(VERSION)'),$(shell $(BIN)/python -c '$(VERSION)'))
OTHER_PYTHON := other-python
endif
endif
endif

install: .venv/installed-$(BUILD)  ## Makes the environment, in .venv.

# If .venv is a link, the environment of another checkout stays as it is. pip
# installs uv, and uv installs the rest, several times as fast. If uv fails,
# for example at an index that only pip.conf names, pip installs the rest.
.venv/installed-$(BUILD): $(LOCKS) $(OTHER_PYTHON)
	@$(PYTHON) -c 'import sys; \
	  sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo \
	  'Python 3.11 to 3.13 is needed: make install PYTHON=python3.12' >&2; \
	  exit 1; }
	@echo 'JAX: $(BUILD) (others: make install JAX=...; $(BUILDS))'
	@if [ -L .venv ]; then rm .venv; fi
	$(PYTHON) -m venv --clear .venv
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > .venv/uv.txt
	$(BIN)/python -m pip install --quiet --require-hashes -r .venv/uv.txt
	$(BIN)/uv pip install --quiet --python .venv --compile-bytecode \
	  --require-hashes --no-deps $(REQUIREMENTS) || \
	$(BIN)/python -m pip install --quiet \
	  --require-hashes --no-deps $(REQUIREMENTS)
	touch $@

PYTEST := $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist worksteal

test: install  ## Runs all tests and doctests but the slow ones.
	$(PYTEST) -m 'not slow'

test-slow: install  ## Runs the slow tests: whole runs, killed runs, examples.
	$(PYTEST) -m slow

lint: install  ## Runs ruff, its formatter and mypy.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: install  ## Fixes what ruff can fix, and formats.
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: install  ## Builds the documentation, in docs/build/html.
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs \
	  docs/build/html

demo: install  ## Trains on an Atari game; prints scores, draws a curve.
	$(BIN)/python -m experiments.demo

sweep-demo: install  ## Trains eight short runs; prints a table, writes a report.
	$(BIN)/python -m experiments.sweep run --games=Alien,RoadRunner \
	  --seeds=0-1 --base_dir=runs/sweep_demo \
	  --gin_files=gin_configs/sweep_demo/demo_drq.gin \
	  --gin_files=gin_configs/sweep_demo/demo_drq_ht.gin
	$(BIN)/python -m experiments.summarize runs/sweep_demo --partial \
	  --report=runs/sweep_demo/report.html

# The long ones have flags: --help lists them.
benchmarks: install  ## Measures docs/performance.md, in some hours.
	for name in transform score_summary training_loop step_parts replay_ratio \
	  page_faults population emulators bbf_step interval_coverage; do \
	  $(BIN)/python -m benchmarks.$$name || exit 1; done

COMPILE := $(BIN)/uv pip compile --upgrade --universal --python-version 3.11 \
  --generate-hashes --no-annotate --no-emit-index-url --quiet \
  --custom-compile-command 'make lock'

# The lock file of an accelerator holds only what requirements.lock lacks.
lock: install  ## Writes the lock files, with the newest versions.
	$(COMPILE) setup.py requirements.in --extra agents --extra analysis \
	  --extra dev --extra docs --extra examples --extra ray --extra slurm \
	  --extra supervised --extra watch --output-file requirements.lock
	for build in $(filter-out cpu,$(BUILDS)); do \
	  $(COMPILE) setup.py --extra $$build --constraints requirements.lock \
	    $$(sed -n 's/^\([a-z0-9-]*\)==.*/--no-emit-package=\1/p' \
	      requirements.lock) \
	    --output-file requirements-$$build.lock || exit 1; done

clean:  ## Removes the environment and all build outputs.
	rm -rf .venv build dist docs/build *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
