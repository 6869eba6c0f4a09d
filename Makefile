PYTHON ?= python3
BIN := .venv/bin

.PHONY: help install test lint format docs demo sweep-demo benchmarks lock clean

help:  ## What can be made.
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

install: .venv/installed  ## The environment, in .venv.

# pip fetches the one wheel of uv, and uv all others, several times as fast.
# Where uv can't reach an index (one that only pip.conf names), pip goes on.
.venv/installed: requirements.lock
	@$(PYTHON) -c 'import sys; \
	  sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo \
	  'Python 3.11 to 3.13 is needed: make install PYTHON=python3.12' >&2; \
	  exit 1; }
	$(PYTHON) -m venv --clear .venv
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > .venv/uv.txt
	$(BIN)/python -m pip install --quiet --require-hashes -r .venv/uv.txt
	$(BIN)/uv pip install --quiet --python .venv --compile-bytecode \
	  --require-hashes --no-deps -r requirements.lock || \
	$(BIN)/python -m pip install --quiet \
	  --require-hashes --no-deps -r requirements.lock
	touch $@

test: install  ## Every test and doctest.
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist worksteal

lint: install  ## Ruff, its formatter, mypy.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: install  ## Repairs what the linter and the formatter can.
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: install  ## The documentation, in docs/build/html.
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs \
	  docs/build/html

demo: install  ## A real Atari run, its score, a picture.
	$(BIN)/python -m experiments.demo

sweep-demo: install  ## Eight short runs at once, their table, a report.
	$(BIN)/python -m experiments.sweep run --games=Alien,RoadRunner \
	  --seeds=0-1 --base_dir=runs/sweep_demo \
	  --gin_files=gin_configs/small/drq_small.gin \
	  --gin_files=gin_configs/small/drq_ht_small.gin
	$(BIN)/python -m experiments.summarize runs/sweep_demo --partial \
	  --report=runs/sweep_demo/report.html

# The long ones have flags: --help lists them.
benchmarks: install  ## All figures of docs/performance.md, some hours.
	for name in transform score_summary training_loop bbf_step supervised \
	  interval_coverage; do \
	  $(BIN)/python -m benchmarks.$$name || exit 1; done

lock: install  ## requirements.lock, with the newest versions allowed.
	$(BIN)/uv pip compile setup.py requirements.in --upgrade --universal \
	  --python-version 3.11 --extra agents --extra analysis --extra dev \
	  --extra docs --extra examples --extra ray --extra slurm \
	  --extra supervised --extra watch --generate-hashes \
	  --no-annotate --no-emit-index-url --quiet \
	  --custom-compile-command 'make lock' --output-file requirements.lock

clean:  ## Removes what was made.
	rm -rf .venv build dist docs/build *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
