# Every target sets up what it needs, from a fresh clone. `make` alone lists them.
#
#   PYTHON       the interpreter that makes .venv, 3.11 or newer
#   TORCH_INDEX  a package index to take torch from beside the usual one; on Linux without an
#                NVIDIA GPU, https://download.pytorch.org/whl/cpu spares gigabytes of CUDA
#   PYTEST_ARGS  passed on to pytest, as in `make test PYTEST_ARGS="-k schedules"`

PYTHON ?= python3
TORCH_INDEX ?=
PYTEST_ARGS ?=

BIN := .venv/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt \
	$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

# One process for each core and one thread for each process: many small tensors gain nothing from
# threads. `worksteal` keeps neighbours together, so that a module's fixtures are made once.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 8 --dist worksteal

# A notice about the successor of the tool that builds the pages.
export NO_MKDOCS_2_WARNING := 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-all check format docs bench mutate clean
.DELETE_ON_ERROR:
.NOTPARALLEL:

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.core  ## train on the built-in faces, then draw some (a few minutes)
	$(BIN)/sfumato train faces --out runs/demo
	$(BIN)/sfumato sample runs/demo -n 64 --seed 0 --out runs/demo/faces.png
	@echo "Look at runs/demo/faces.png; runs/demo/report.html tells how the training went."

test: .venv/.dev  ## the quick tests, laws included
	$(PYTEST) -m "not slow" $(PYTEST_ARGS)

test-all: .venv/.dev .venv/.peers  ## every test: the slow ones, and those against other libraries
	$(PYTEST) $(PYTEST_ARGS)

check: .venv/.dev .venv/.docs  ## format, lint, types, documentation: nothing is changed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mkdocs build --quiet --strict

format: .venv/.dev  ## put the code in the house's format, and mend what lint can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/.docs  ## build the documentation into site/
	$(BIN)/mkdocs build --strict

bench: .venv/.dev .venv/.peers  ## measure training speed beside other libraries
	$(BIN)/python benchmarks/training.py

mutate: .venv/.dev  ## slip one index at a time in process/ and sampling/: the laws must notice
	$(BIN)/python tools/mutate.py

clean:  ## remove the environment and everything built; runs/ stays
	rm -rf .venv build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: .venv/.core holds the package itself, .venv/.NAME also the extra of that name.

.venv/.core: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(INSTALL) --editable .
	@touch $@

.venv/.dev .venv/.docs: .venv/.%: .venv/.core
	$(INSTALL) --editable '.[$*]'
	@touch $@

# azula asks for torchvision, which it needs for nothing that is compared here.
.venv/.peers: .venv/.core
	$(INSTALL) diffusers einops
	$(INSTALL) --no-deps azula
	@touch $@
