PYTHON ?= python3
BIN := .venv/bin

.PHONY: install test lint docs demo lock clean

install: .venv/installed

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

test: install
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist worksteal

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: install
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs \
	  docs/build/html

demo: install
	$(BIN)/python -m experiments.demo

lock: install
	$(BIN)/uv pip compile setup.py requirements.in --upgrade --universal \
	  --python-version 3.11 --extra agents --extra analysis --extra dev \
	  --extra docs --extra examples --extra ray --extra slurm \
	  --extra supervised --extra watch --generate-hashes \
	  --no-annotate --no-emit-index-url --quiet \
	  --custom-compile-command 'make lock' --output-file requirements.lock

clean:
	rm -rf .venv build dist docs/build *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
