# make demo, make test: all that a fresh machine needs is Python 3.11 or 3.12. PYTHON picks the interpreter, TESTS less
# than all fast tests.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed

.PHONY: install demo test test-all lint types docs docs-links notebooks clean

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"jaxrecon needs Python 3.11 or newer, and {sys.executable} is {sys.version.split()[0]}; try make PYTHON=python3.12")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test,lint]'
	touch $@

install: $(STAMP)

demo: $(STAMP)
	$(BIN)/jaxrecon demo

test: $(STAMP)
	$(BIN)/python -m pytest -n auto $(TESTS)

test-all: $(STAMP)
	XLA_FLAGS= $(BIN)/python -m pytest -n auto -m "slow or not slow"

lint: $(STAMP)
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/pyright --pythonpath $(BIN)/python

$(VENV)/.docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

# Executes each .py and writes the .ipynb beside it.
$(VENV)/.notebooks: $(STAMP)
	$(BIN)/python -m pip install --quiet --editable '.[notebooks]'
	touch $@

notebooks: $(VENV)/.notebooks
	cd notebooks && for source in *.py; do $(abspath $(BIN))/jupytext --to ipynb \
	  --set-formats ipynb,py:percent --execute $$source || exit 1; done

docs-links: $(VENV)/.docs
	$(BIN)/python -m sphinx -q -b linkcheck docs docs/_build/links

clean:
	rm -rf docs/_build docs/notebooks $(VENV) demo.png demo.csv
