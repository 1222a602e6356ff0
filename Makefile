# Everything runs in .venv, which `make setup` makes and keeps up to date.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.NOTPARALLEL:

PYTHON ?= $(shell python3.11 -c '' 2>/dev/null && echo python3.11 || echo python3)
BIN := .venv/bin
INSTALLED := .venv/.installed
PYTEST_ARGS ?=
# Tests of one file stay together, in one of two processes with a thread each; on one core, or
# to look into a test: make test PYTEST_PROCESSES=0.
PYTEST_PROCESSES ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(PYTEST_PROCESSES) --dist loadfile
PORT ?= 8501

.PHONY: help setup demo test check format dashboard clean

help:
	@echo 'make demo       a first study, from nothing to a front and an exported network'
	@echo 'make dashboard  the page on http://localhost:$(PORT) (PORT=... for another)'
	@echo 'make test       all tests (PYTEST_ARGS="-k front" for some)'
	@echo 'make check      format, lint, types and tests'
	@echo 'make format     put the code into its format'
	@echo 'make setup      .venv with everything; the others do it when needed'
	@echo 'make clean      remove .venv and caches; runs/ and data/ stay'

setup: $(INSTALLED)

# Shows the downloads of a megabyte and more. Byte code is made on all cores instead of
# pip's one, and here rather than at every start where Python is told not to write it.
$(INSTALLED): pyproject.toml requirements-peers.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python must be 3.11 or newer, got $(PYTHON) ($$($(PYTHON) --version 2>/dev/null || echo does not run));" \
	    "name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo 'Setting up .venv (a few minutes the first time)'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@export PIP_DISABLE_PIP_VERSION_CHECK=1; \
	$(BIN)/python -m pip install --no-compile -e '.[dev,postgres,peers]' \
	  | sed -un -e 's/^ *Downloading \([^ ]*\) (\([0-9.]* [MG]B\)).*/  \1, \2/p' \
	    -e 's/^Installing collected packages.*/  installing/p'; \
	peers=($$(sed 's/#.*//' requirements-peers.txt)); \
	for peer in "$${peers[@]}"; do \
	  $(BIN)/python -m pip install --quiet --no-compile --no-deps "$$peer" \
	    || echo "  going on without $$peer: tests that compare with it will be skipped"; \
	done; \
	echo '  compiling'; \
	$(BIN)/python -m compileall -qq -j 0 -x '/tests?/' .venv/lib || true # some are no Python 3
	@touch $@

# May be repeated: a finished study stays as it is, the exported folder is written anew.
demo:
	@SECONDS=0; $(MAKE) --no-print-directory setup; ready=$$SECONDS; \
	$(BIN)/spikefront run studies/digits.toml; searched=$$SECONDS; \
	$(BIN)/spikefront front digits; \
	$(BIN)/spikefront export digits --pick knee --out runs/digits-best --force; \
	echo; \
	echo "Time: set-up $$ready s, search $$((searched - ready)) s," \
	  "front and export $$((SECONDS - searched)) s."; \
	echo 'The exported network: runs/digits-best/README.md'; \
	echo 'All of it as pictures: make dashboard'

test: setup
	@$(PYTEST) $(PYTEST_ARGS)

check: setup
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(PYTEST) $(PYTEST_ARGS)

format: setup
	@$(BIN)/ruff check --fix --exit-zero --quiet .
	@$(BIN)/ruff format .

dashboard: setup
	@$(BIN)/spikefront dashboard --port $(PORT)

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
