# Everything runs in .venv, which `make setup` creates and updates.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.NOTPARALLEL:

PYTHON ?= $(shell python3.11 -c '' 2>/dev/null && echo python3.11 || echo python3)
BIN := .venv/bin
INSTALLED := .venv/.installed
PYTEST_ARGS ?=
# Processes with a thread each, two for each of two cores, because tests also wait; all tests of a
# file run in the same process. To debug a test: make test PYTEST_PROCESSES=0.
PYTEST_PROCESSES ?= 4
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(PYTEST_PROCESSES) --dist loadfile \
  --no-loadscope-reorder
PORT ?= 8501

.PHONY: help setup demo test check format dashboard gpu clean

help:
	@echo 'make demo       a first study: set-up, search, front, exported network'
	@echo 'make dashboard  web pages on http://localhost:$(PORT) (PORT=... for another port)'
	@echo 'make test       all tests (PYTEST_ARGS="-k front" for some)'
	@echo 'make check      format, lint, types and tests'
	@echo 'make gpu        measure on a GPU, 25 minutes (DATA=folder with CIFAR-10)'
	@echo 'make format     format the code'
	@echo 'make setup      create .venv; the other targets do this when needed'
	@echo 'make clean      remove .venv and caches; keep runs/ and data/'

setup: $(INSTALLED)

# Shows downloads of a megabyte and more; everything else that pip prints goes to the log, which
# is shown if pip fails. Byte code is compiled here on all cores, since pip uses one core, and
# a Python with PYTHONDONTWRITEBYTECODE would compile at every start.
$(INSTALLED): pyproject.toml requirements-peers.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python must be 3.11 or newer, got $(PYTHON) ($$($(PYTHON) --version 2>/dev/null || echo does not run));" \
	    "choose one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo 'Setting up .venv (a few minutes the first time)'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@export PIP_DISABLE_PIP_VERSION_CHECK=1; log=.venv/setup.log; \
	$(BIN)/python -m pip install --no-compile -e '.[all,dev,peers]' 2>&1 | tee "$$log" \
	  | sed -un -e 's/^ *Downloading \([^ ]*\) (\([0-9.]* [MG]B\)).*/  \1, \2/p' \
	    -e 's/^Installing collected packages.*/  installing/p' \
	  || { cat "$$log" >&2; echo "pip failed; its output is above and in $$log" >&2; exit 1; }; \
	peers=($$(sed 's/#.*//' requirements-peers.txt)); \
	for peer in "$${peers[@]}"; do \
	  $(BIN)/python -m pip install --no-compile --no-deps "$$peer" >> "$$log" 2>&1 \
	    || echo "  no $$peer: tests that compare with it are skipped (see $$log)"; \
	done; \
	echo '  compiling'; \
	$(BIN)/python -m compileall -qq -j 0 -x '/tests?/' .venv/lib >> "$$log" 2>&1 \
	  || true # some files of packages are not Python 3
	@touch $@

# May be repeated: a finished study is not changed, the exported folder is replaced.
demo:
	@SECONDS=0; $(MAKE) --no-print-directory setup; ready=$$SECONDS; \
	$(BIN)/spikefront run studies/digits.toml; searched=$$SECONDS; \
	$(BIN)/spikefront front digits; \
	$(BIN)/spikefront export digits --pick knee --test --out runs/digits-best --force; \
	echo; \
	echo "Time: set-up $$ready s, search $$((searched - ready)) s," \
	  "front and export $$((SECONDS - searched)) s."; \
	echo 'The exported network: runs/digits-best/README.md'; \
	echo 'The results as web pages: make dashboard'

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

# May be repeated: goes on with what did not succeed.
gpu: setup
	@$(BIN)/python -m benchmarks.gpu $(if $(DATA),--data $(DATA))

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
