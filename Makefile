# Two commands do all the set-up: `make run` (the main job) and `make test`.
# A CPU build of torch: make run TORCH_ARGS="--index-url https://download.pytorch.org/whl/cpu"
SHELL := /bin/bash
PYTHON ?= python3
TORCH_ARGS ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONNOUSERSITE := 1

.PHONY: run setup test test-all check format docs-check repro lock clean help

help:  ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: setup  ## set up, then run the main job
	@regen run

setup: .venv/ready  ## .venv with every package as pinned

.venv/ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Regen needs Python 3.11 or later, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing torch (some minutes the first time) ..."
	@$(PIP) install -q torch==2.13.0 $(TORCH_ARGS)
	@echo "Installing the other packages ..."
	@$(PIP) install -q --no-deps -r requirements.txt
	@$(PIP) install -q --no-deps -e .
	@$(BIN)/python -c 'import torch, prefect, mlflow; print("torch", torch.__version__, "| prefect", prefect.__version__, "| mlflow", mlflow.__version__)'
	@touch $@

test: setup  ## the quick tests and the doctests
	@python -m pytest -n 2 -m "not slow" --durations=10

test-all: setup  ## every test, with coverage and its floor
	@rm -f .coverage .coverage.*
	@python -m pytest -n 2 --dist=loadfile --cov --cov-report= --durations=20
	@coverage combine -q --append 2>/dev/null || true
	@coverage report | tail -n 40

check: setup  ## format, lint, types, layers, documentation
	@ruff format --check .
	@ruff check .
	@mypy
	@lint-imports
	@$(MAKE) --no-print-directory docs-check

format: setup  ## format and mend what ruff can mend
	@ruff format .
	@ruff check --fix .

docs-check: setup  ## the documentation says what is so
	@python -m pytest -q -p no:cacheprovider tests/test_docs.py

repro: setup  ## the same stages by DVC
	@regen data pull && dvc repro

lock: setup  ## renew requirements.txt
	@$(PIP) install -q uv
	@uv pip compile pyproject.toml --extra dev $(TORCH_ARGS) $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS)) \
		--no-emit-package torch --no-header --no-annotate --upgrade -q -o requirements.txt

clean:  ## remove what tests and builds leave behind, no results
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage* *.egg-info
