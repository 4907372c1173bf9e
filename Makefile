# Everything runs from .venv, which `make setup` fills from third_party/requirements.lock.
# MESH=path, UP=z and OUT=dir steer the demo; PYTHON=path chooses the Python (3.11 or newer) that makes .venv.
PYTHON ?= python3
OUT ?= out/demo
BIN := .venv/bin
export MESH UP OUT PYTHON

.PHONY: help setup demo test slow guides soak bench lint format lock cards docs wheel

help:
	@echo "make setup | demo [MESH=path] [UP=z] [OUT=dir] | test | slow | guides | soak | bench | lint | format | lock | cards | docs | wheel"

setup:
	@sh third_party/setup.sh

demo: setup
	@$(BIN)/python -m experiments.demo $${MESH:+"--mesh=$$MESH"} $${UP:+"--up=$$UP"} "--output=$$OUT"

test: setup
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

slow: setup
	$(BIN)/python -m pytest -q -m slow

# The notebook and the guides' commands, run as a reader would.
guides: setup
	$(BIN)/python -m pytest -q -m slow tests/test_docs.py

# Memory of 2,000 renders and 200 fits in one process; out/soak/soak.svg. It fails if memory grows.
soak: setup
	$(BIN)/python tests/soak.py

# PyTorch is what the benchmark compares with, and nothing else: it stays out of the lock.
bench: setup
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/python -m experiments.benchmark --output=out/benchmark.json --overwrite

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Reference of the programming interface, out/docs/index.html; a warning is an error.
docs: setup
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs/api out/docs
	@echo "wrote out/docs/index.html"

# Model cards beside the weights, from their provenance.
cards: setup
	$(BIN)/python -m rendernet_jax.weights.cards

# dist/*.whl of the commit that is checked out; the same commit gives the same bytes.
wheel: setup
	@sh third_party/wheel.sh

# For maintainers, after a change of setup.cfg or requirements.in; needs uv (`pip install uv`).
lock:
	PATH="$(CURDIR)/$(BIN):$$PATH" uv pip compile --no-config --quiet --upgrade --universal --generate-hashes \
	  --python-version 3.11 --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	  --extra mesh --extra export --extra viewer --extra cluster --extra records --extra dev setup.cfg third_party/requirements.in \
	  -o third_party/requirements.lock
