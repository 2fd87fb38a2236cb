# Every target makes what it needs. The second call does no set-up again.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
CONFIG ?= data/segmentation.yaml
PORT ?= 3000
OLD_DUCKDB := .cache/duckdb-1.5
# Uncompiled bytecode makes every import 2-4 times slower: whatever the shell says, Python may write it here.
unexport PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# pip tells of each package; what a person wants to know is how far it is.
SHELL := bash
PACKAGES := $(shell grep -c '^[a-zA-Z0-9].*==' requirements.lock)
SHOW_PACKAGES = /^Collecting / { n++; if (n % 20 == 0 || n == $(PACKAGES)) { print "  " n " of $(PACKAGES) packages fetched"; fflush() } } \
  /^Installing collected/ { print "  installing them"; fflush() }

.PHONY: help run test test-fast lint ui docs pictures wheel lock newest clean-outputs
.DEFAULT_GOAL := help

help:  ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: $(VENV)/ready  ## segment the demo households: every month that is due and not yet there
	@$(BIN)/segment-pipeline run --config $(CONFIG)

test: $(VENV)/ready $(OLD_DUCKDB)/ready  ## run the test-suite
	@$(BIN)/python -m pytest

test-fast: $(VENV)/ready  ## the part of it that runs no month, starts no process and needs no network
	@$(BIN)/python -m pytest -m "not (process or demo or months or network)"

lint: $(VENV)/ready  ## ruff (style, formatting) and mypy (types)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

ui: $(VENV)/ready  ## the Dagster UI on http://127.0.0.1:3000, or make ui PORT=3010
	@$(BIN)/segment-pipeline ui --config $(CONFIG) --port $(PORT)

docs: $(VENV)/ready  ## write what docs/ says that the code knows or a benchmark has measured
	@$(BIN)/python -m tools.reference docs
	@$(BIN)/python -m tools.figures

pictures: $(VENV)/ready  ## draw docs/pictures/*.svg from the published demo: after `make run`
	@$(BIN)/python -m tools.doc_pictures data/segments.duckdb docs/pictures

wheel: $(VENV)/ready  ## build dist/*.whl
	@$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

clean-outputs:  ## delete what `make run` made (the warehouse, the published file, the run history)
	rm -rf data/warehouse.duckdb data/warehouse.duckdb.wal data/segments.duckdb data/reports data/exports data/.*.lock
	find data/dagster_home -mindepth 1 ! -name dagster.yaml -delete

lock:  ## renew requirements.lock after a change of pyproject.toml
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile pyproject.toml --all-extras --python-version 3.11 --generate-hashes --no-strip-extras --no-header --no-annotate --quiet --output-file requirements.lock

newest: $(VENV)/ready  ## the quick tests with the newest release of every dependency, in an environment of its own
	@$(BIN)/python -m tools.newest

# The marker is written last: a set-up that was interrupted starts over.
# Every dependency stands in the lock, so only the lock decides whether the set-up is up to date.
$(VENV)/ready: requirements.lock
	@command -v "$(PYTHON)" >/dev/null || { echo "make: no python3 found. Install Python 3.11 (Debian: apt-get install python3 python3-venv), then call make again." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $(PYTHON) is too old; Python 3.11 or newer is needed. Name one: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@echo "Setting up $(VENV) (once, about two minutes)"
	@rm -rf $(VENV)
	@"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); echo "make: could not create $(VENV). Debian keeps that module in a package of its own: apt-get install python3-venv, then call make again." >&2; exit 1; }
	@set -o pipefail; $(BIN)/python -m pip install --no-compile --progress-bar off --require-hashes --requirement requirements.lock | awk '$(SHOW_PACKAGES)'
	@$(BIN)/python -m pip install -qq --no-compile --no-deps --no-build-isolation --editable .
	@echo "  compiling them"
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null || true
	@touch $@

# The oldest DuckDB that reads the published file: a client in the tests.
$(OLD_DUCKDB)/ready: segment_pipeline_tests/duckdb-1.5.lock | $(VENV)/ready
	@rm -rf $(OLD_DUCKDB)
	@$(BIN)/python -m pip install -qq --no-deps --require-hashes --target $(OLD_DUCKDB) --requirement $<
	@touch $@
