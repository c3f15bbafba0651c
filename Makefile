# Every target does its own set-up: `make demo` and `make test` work in a fresh clone.
PYTHON ?= python3.11
BIN := .venv/bin
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export OMP_NUM_THREADS ?= 1
# Without byte code every import costs twice.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test test-slow lint docs wheel bench clean help

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/ready  ## a virtual environment with everything pinned

# torch comes first, alone, so that no other package can pull another build of it.
.venv/ready: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "Polytask needs $(PYTHON); pass PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --editable '.[app,dev]'
	@touch $@

demo: setup  ## compare three tasks on the Adult census: the verdict in four minutes
	$(BIN)/polytask compare examples/study.yaml --out runs/demo

test: setup  ## the quick tests, two at a time
	$(BIN)/python -m pytest -n 2 -m "not slow" --durations 10

test-slow: setup  ## the tests that take longer than a few seconds each
	$(BIN)/python -m pytest -n 2 -m slow --durations 10

lint: setup  ## style, layers, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

docs: setup  ## the pages that are made from the methods and the architectures
	$(BIN)/python docs/make_methods.py
	$(BIN)/python docs/make_architectures.py
	$(BIN)/python docs/make_which_method.py

wheel: setup  ## what people install: built, looked into, tried in an empty environment
	bash .ci/wheel

bench: setup  ## the numbers behind every claim, on an idle machine
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	env -u OMP_NUM_THREADS $(BIN)/python -m benchmarks

clean:  ## remove what setup and the runs made
	rm -rf .venv runs dist build
