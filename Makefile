# The Python environment is $(VENV); PYTHON makes it, and must be 3.11 or newer.
VENV ?= .venv
PYTHON ?= python3
PROBLEM ?= Why are trees important for people, and why for animals?

# Tests without the Ray cluster run in two processes, file by file. Those with it follow in one
# process, since they have time limits.
PYTEST = $(VENV)/bin/python -m pytest --durations=25
SPREAD = -n 2 --dist loadfile
FAST = not full_grid and not cluster and not demo_model and not slow

export PROBLEM

old_python = Python 3.11 or newer is needed and '$(PYTHON)' is not: install python3.11 and \
  python3.11-venv, and add PYTHON=python3.11 to the make command.
no_venv = '$(PYTHON)' cannot make virtual environments: install python3-venv \
  (python3.11-venv for python3.11).

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo install test test-fast test-all coverage docs bench bench-exchange bench-gpu \
  bench-sharing bench-serve chaos lint format typecheck clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed  ## Let two workers solve PROBLEM with the demo model
	$(VENV)/bin/hogwild models fetch
	$(VENV)/bin/hogwild run "$$PROBLEM" --workers 2 --shards 2 --layout combined \
		--max-tokens 90 --temperature 0.5 --top-p 0.9 --repetition-penalty 1.1 --seed 1

install: $(VENV)/.installed-dev  ## Install the package with its development tools into VENV

test: $(VENV)/.installed-dev  ## Run the tests (about 25 minutes on two cores)
	$(PYTEST) $(SPREAD) -m "not full_grid and not cluster"
	$(PYTEST) -m "not full_grid and cluster"

test-fast: $(VENV)/.installed-dev  ## Run the tests that need no cluster and no demo model
	$(PYTEST) $(SPREAD) -m "$(FAST)"

coverage: $(VENV)/.installed-dev  ## Run the tests and report which lines they reach
	$(PYTEST) $(SPREAD) --cov --cov-report= -m "not full_grid and not cluster"
	$(PYTEST) --cov --cov-append --cov-report=term --cov-report=html -m "not full_grid and cluster"

# Without these two, glibc gives large results back to the kernel and fetches them anew each step.
bench: $(VENV)/.installed-dev  ## Measure a step beside plain transformers (about 10 minutes)
	MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 \
		$(VENV)/bin/python benchmarks/step.py

bench-gpu: $(VENV)/.installed-dev  ## Check and measure the engine on one GPU (about 15 minutes)
	$(VENV)/bin/python -m benchmarks.gpu --out benchmarks-gpu

bench-exchange: $(VENV)/.installed-dev  ## Measure what an exchange costs (about 10 minutes)
	OMP_NUM_THREADS=1 $(VENV)/bin/python benchmarks/exchange.py

bench-sharing: $(VENV)/.installed-dev  ## Measure what sharing brings (about 10 minutes)
	$(VENV)/bin/python benchmarks/sharing.py

bench-serve: $(VENV)/.installed-dev  ## Measure the service under load (about 15 minutes)
	$(VENV)/bin/python -m benchmarks.serve

chaos: $(VENV)/.installed-dev  ## Let 1,000 faults happen, and compare what is written (about 40 minutes)
	$(VENV)/bin/python -m tests.faults.chaos

test-all: $(VENV)/.installed-dev  ## Run the tests with every case of the grids
	$(PYTEST) $(SPREAD) -m "not cluster"
	$(PYTEST) -m cluster

# Material prints a notice about later versions of MkDocs unless this is set.
docs: $(VENV)/.installed-docs  ## Build the pages of docs/ and the API reference in site/
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build
	@echo "Open site/index.html, or with search: $(PYTHON) -m http.server --directory site"

lint: $(VENV)/.installed-dev  ## Check style, formatting and spelling
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/codespell

format: $(VENV)/.installed-dev  ## Format the code and repair what can be repaired
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

typecheck: $(VENV)/.installed-dev  ## Check the types
	$(VENV)/bin/mypy

clean:  ## Remove .venv and everything that was generated
	rm -rf .venv build dist site htmlcov .coverage* *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are written last, so an interrupted installation leaves none and is done again.
$(VENV)/.installed: pyproject.toml | $(VENV)/bin/pip
	$(VENV)/bin/pip install --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/pip
	$(VENV)/bin/pip install --editable ".[dev]"
	touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml | $(VENV)/bin/pip
	$(VENV)/bin/pip install --editable ".[docs]"
	touch $@ $(VENV)/.installed

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "$(old_python)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "$(no_venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
