# Everything runs from .venv, which every target makes and fills first where that is needed.
#
#   make search                                  the main job on the bundled model
#   make test                                    the tests
#   make PYTHON=python3.11 test-lowest           the tests, with the lowest versions of dependencies
#   make real                                    a search on SmolLM2 (MODEL=gemma3, qwen05: others)
#   make PYTHON=python3.12 install               with another Python (3.11 or newer)
#   make TORCH="torch --index-url URL" install   with a torch from the index of your CPU or CUDA

PYTHON ?= python3
TORCH ?=
MODEL ?= smollm2
VENV := .venv
PINS := constraints.txt
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
FAST := not slow and not gpu

# Prints the version of an installed torch that is of the pinned series (it is kept), else nothing.
define KEPT_TORCH
from importlib.metadata import PackageNotFoundError, version
pin = next(line for line in open("$(PINS)") if line.startswith("torch=="))[7:].strip()
try:
    found = version("torch").split("+")[0]
except PackageNotFoundError:
    found = ""
print(found if found.split(".")[:2] == pin.split(".")[:2] else "")
endef
export KEPT_TORCH

.PHONY: search real install test test-lowest test-all check lint types bench docs notebooks site
.DELETE_ON_ERROR:

search: $(STAMP)
	$(BIN)/locscope search

# A real model, brought without a hub, and edits of facts that the first of them knows.
real: $(STAMP)
	$(BIN)/python -m analyses.fetch_real $(MODEL) >&2
	$(BIN)/locscope search --model $(MODEL) --edits facts --limit 60

install: $(STAMP)

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "$(FAST)"

# The same tests, in an environment of its own.
test-lowest:
	$(MAKE) VENV=.venv-lowest PINS=constraints-lowest.txt test

test-all: $(STAMP)
	$(BIN)/python -m pytest

check: lint types test

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

types: $(STAMP)
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(STAMP)
	$(BIN)/python analyses/bench_step.py
	$(BIN)/python -m analyses.bench_trace
	$(BIN)/python -m analyses.bench_heads

# The commands of the README as they stand there, then every notebook.
docs: $(STAMP)
	$(BIN)/python -m pytest tests/test_readme.py tests/test_notebooks.py

# Every notebook with its outputs; needs Chromium, which draws the figures.
notebooks: $(STAMP)
	$(PIP) install -q -c $(VENV)/constraints.txt -e '.[notebook,static]' >&2
	$(BIN)/python -m analyses.notebooks

# The documentation as web pages, in docs/site; a link that leads nowhere is an error.
site: $(STAMP)
	$(PIP) install -q -c $(VENV)/constraints.txt -e '.[docs]' >&2
	$(BIN)/python -m mkdocs build --strict --config-file docs/mkdocs.yml

# A Python that has a fitting torch lends it to the environment. Where venv has no pip to put
# into the environment (some systems split it off), the Python's own pip brings one.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "locscope needs Python 3.11 or newer: make PYTHON=python3.11 ..." >&2; exit 1; }
	@lend=$$($(PYTHON) -c "$$KEPT_TORCH") && \
	set -- $${lend:+--system-site-packages} $(VENV) && \
	{ $(PYTHON) -m venv "$$@" 2>/dev/null || { $(PYTHON) -m venv --clear --without-pip "$$@" && \
	  $(PYTHON) -m pip --python $(BIN)/python install -q pip; }; }

# The pins, but for a torch that is there already.
$(STAMP): pyproject.toml $(PINS) | $(BIN)/python
	@echo "installing into $(VENV): some minutes" >&2
	@grep '^torch==' $(PINS) > $(VENV)/torch.txt
	@if [ -n "$(TORCH)" ]; then $(PIP) install -q -c $(VENV)/torch.txt $(TORCH) >&2; fi
	@kept=$$($(BIN)/python -c "$$KEPT_TORCH") && \
	sed "s/^torch==.*/torch==$${kept:-$$(cut -d= -f3 $(VENV)/torch.txt)}/" $(PINS) \
	  > $(VENV)/constraints.txt
	@$(PIP) install -q -c $(VENV)/constraints.txt -e '.[dev]' >&2
	@touch $@
