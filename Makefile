# Two words do everything on a fresh machine: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test lab bench check format clean

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/installed-lab: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[lab]'
	touch $@

demo: $(VENV)/installed ## set up and run a real chat through a real Jupyter server, then end
	$(BIN)/python scripts/demo.py

test: $(VENV)/installed-test ## set up and run every check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/pytest

lab: $(VENV)/installed-lab ## set up and open JupyterLab
	$(BIN)/jupyter lab

bench: $(VENV)/installed-test ## measure beside mlx_lm.server (20 minutes; BENCH=--quick: under 5)
	$(BIN)/python -m benchmarks $(BENCH)

format: $(VENV)/installed-test ## format the code and mend what can be mended by machine
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove the environment and all caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
