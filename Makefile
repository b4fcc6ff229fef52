# make demo    build the quickstart from nothing (a virtual environment included)
# make test    every check and test: what continuous integration runs
# make check   the checks alone: ruff, mypy, import-linter
# make help    the rest
#
# PYTHON       the interpreter the environment is made from (3.11 or newer)
# VENV         where the environment is
# TORCH_INDEX  where torch is taken from, where the package index has only builds for CUDA:
#              make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
JOBS ?= 2

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --constraint constraints.txt
TRAIN := $(VENV)/.train.stamp
TEST := $(VENV)/.test.stamp
PROJECT := pyproject.toml constraints.txt

.PHONY: help demo install test check pytest test-slow clean

help:  ## List the targets.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Tuneforge needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

# torch first and by itself: only it may come from another index. What is installed next finds the
# pinned version there and leaves it alone.
$(TRAIN): $(PROJECT) | $(BIN)/python
	$(INSTALL) torch $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(INSTALL) --editable '.[train]'
	touch $@

$(TEST): $(TRAIN)
	$(INSTALL) --editable '.[train,test]'
	touch $@

install: $(TRAIN)  ## Make the environment with everything that trains.

demo: $(TRAIN)  ## Build examples/quickstart/spec.toml from raw data to a verified model.
	$(BIN)/tuneforge build examples/quickstart/spec.toml

test: check pytest  ## Every check, then every test but the slow ones.

check: $(TEST)  ## ruff, mypy --strict, import-linter.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

pytest: $(TEST)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m 'not slow'

test-slow: $(TEST)  ## The tests that take minutes each.
	$(BIN)/python -m pytest -m slow

clean:  ## Remove what make and the quickstart made.
	rm -rf $(VENV) examples/quickstart/.tuneforge .mypy_cache .ruff_cache .pytest_cache
	rm -rf .hypothesis .import_linter_cache
