PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# On a machine that others use too, threads that spin while they wait make everything slow; on an idle one it costs nothing.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help demo test test-all lint docs clean

help:
	@echo "make demo      create the environment, install, run the main job on the built-in data (about 5 minutes)"
	@echo "make test      create the environment, install, lint, type-check, run the tests"
	@echo "make test-all  the same with the slow tests"
	@echo "make docs      write what the docs take from the code: docs/api.md, tables of parts"

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $@

demo: $(VENV)/.installed
	rm -rf runs/demo runs/demo.partial
	$(BIN)/trimformer demo --out runs/demo

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# One thread for each of the test processes: two that share the cores with two threads each wait for one another. A file
# stays with one process, so that what its tests share is made once.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile -m "not slow"

test-all: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

docs: $(VENV)/.installed
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) runs build dist
