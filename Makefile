# Everything is installed in $(VENV); stamp files keep repeated runs fast.
#
#   make PYTHON=python3.12     another interpreter (3.11 or newer)
#   make VENV=/somewhere       another place for the virtual environment

VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
STAMPS := $(VENV)/.stamps
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check install -c constraints.txt --build-constraint constraints.txt
# Tests mostly wait for other programs: several run side by side, those of one cluster or engine one after the other.
SIDE_BY_SIDE ?= --numprocesses=auto --maxprocesses=4
PACKAGE := $(STAMPS)/venv pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-torch lint format docs bench bench-slurm bench-docker constraints clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## */\1	/p' $(MAKEFILE_LIST) | while IFS='	' read -r name text; do \
	    printf '  make %-12s %s\n' "$$name" "$$text"; done

venv: $(STAMPS)/lint $(STAMPS)/test $(STAMPS)/docs  ## create the virtual environment with all that a developer needs

demo: $(STAMPS)/demo  ## run the example: train four networks on handwritten digits, and plot them
	$(BIN)/python examples/digits/launch.py

test: $(STAMPS)/test $(if $(filter true,$(CI)),$(STAMPS)/torch)  ## run the tests (ARGS="-k name" to choose)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

test-torch: $(STAMPS)/test $(STAMPS)/torch  ## run the tests, with PyTorch installed for the torchrun one
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

lint: $(STAMPS)/lint  ## check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMPS)/lint  ## put the code into its canonical form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMPS)/docs  ## build the documentation into docs/_build/html, with warnings as errors
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: $(STAMPS)/demo benchmarks/.venv-peers/.installed  ## measure start-up and local runs against a peer and bare Python
	$(BIN)/python benchmarks/startup_and_local.py $(ARGS)

bench-slurm: $(STAMPS)/test benchmarks/.venv-peers/.installed  ## measure Slurm over ssh against raw ssh and peers (as root)
	$(BIN)/python benchmarks/slurm.py $(ARGS)

bench-docker: $(STAMPS)/test  ## measure containers against a shell loop of docker run (as root)
	$(BIN)/python benchmarks/docker_echo.py $(ARGS)

constraints: venv $(STAMPS)/torch  ## pin what is installed now (after a pip install --upgrade of your choice)
	{ sed '/^[^#]/,$$d' constraints.txt; $(BIN)/python -m pip freeze --all --exclude-editable | \
	    sed -E '/^(nvidia|triton|cuda)/d; s/\+[a-z0-9.]+$$//'; } > constraints.new
	mv constraints.new constraints.txt

clean:  ## remove everything that make has made
	rm -rf $(VENV) benchmarks/.venv-peers docs/_build docs/reference/generated docs/decisions/index.md demo-output
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- installation ---

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "Runyard needs Python 3.11 or newer, and '$(PYTHON)' is not: try  make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu:  apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@# The pip of older systems knows neither dependency groups nor build constraints.
	$(BIN)/python -m pip --quiet --disable-pip-version-check install --upgrade -c constraints.txt pip
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/demo: $(PACKAGE)
	$(PIP) -e '.[demo]'
	@touch $@

$(STAMPS)/test: $(PACKAGE)
	$(PIP) -e '.[demo]' --group test
	@touch $@

$(STAMPS)/lint: $(PACKAGE)
	$(PIP) -e . --group lint
	@touch $@

$(STAMPS)/docs: $(PACKAGE)
	$(PIP) -e . --group docs
	@touch $@

$(STAMPS)/torch: $(PACKAGE)
	$(PIP) --group torch
	@touch $@

benchmarks/.venv-peers/.installed: benchmarks/requirements-peers.txt
	$(PYTHON) -m venv benchmarks/.venv-peers
	benchmarks/.venv-peers/bin/python -m pip --quiet --disable-pip-version-check install -r $<
	@touch $@
