# make demo     set everything up, run the main job on the embedded sandbox, draw its report
# make test     set everything up, run all tests
# make quick    the tests that need neither torch nor a process, in less than a minute
# make planted  plant faults in a copy, one by one, and see that the tests named for each turn red
# make lint     formatting, lint and types
# make docs     the documentation as a site, in site/
# make clean    remove the virtual environment and caches; results in runs/ stay
#
# Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
TORCH := $(shell grep '^torch==' constraints.txt)
NEEDED_GB := 3
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input -c constraints.txt
SWEEP := launch/sweeps/sandbox.yaml

.PHONY: demo test quick planted lint docs clean
.DELETE_ON_ERROR:

demo: $(READY)
	@$(BIN)/retain run $(SWEEP)
	@$(BIN)/retain report $(SWEEP)

# Four at a time on any machine, for many tests wait more than they compute.  The cluster's tests watch the clock, and so
# have the machine for themselves, each on a cluster of its own.
test: $(READY)
	@failed=0; \
	$(BIN)/python -m pytest --ignore=tests/cluster -n 4 --dist=loadfile --no-loadscope-reorder || failed=$$?; \
	$(BIN)/python -m pytest tests/cluster -n 4 --maxschedchunk=1 || failed=$$?; \
	exit $$failed

quick: $(READY)
	@$(BIN)/python -m pytest --quick -m "not slow"

planted: $(READY)
	@$(BIN)/python -m tests.planted

lint: $(READY)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

docs: $(READY)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "read site/index.html"

clean:
	rm -rf $(VENV) site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Torch comes first, by itself: what is installed later keeps that build instead of choosing its own.
$(READY): constraints.txt setup.cfg pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
	  echo "$(PYTHON) was not found. Install Python 3.11 or newer (Debian: apt-get install python3 python3-venv)," \
	    "or name another one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is $$($(PYTHON) --version 2>&1), but 3.11 or newer is needed." \
	    "Name a newer one: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  version=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	  echo "$(PYTHON) cannot make virtual environments: its ensurepip or venv module is missing." \
	    "On Debian: apt-get install python3-venv (or python$$version-venv), then run make again" >&2; exit 1; }
	@free=$$(df -Pk . | awk 'NR == 2 { print int($$4 / 1000000) }'); \
	  [ -e $@ ] || [ "$$free" -ge $(NEEDED_GB) ] || { \
	  echo "Only $$free GB are free here ($(CURDIR)); the virtual environment needs $(NEEDED_GB) GB" \
	    "(7 GB where pip takes a CUDA build of torch)." \
	    "Make room, then run make again" >&2; exit 1; }
	@echo "setting up $(VENV) (once; a few minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) $(TORCH)
	@$(PIP) -e '.[dev]'
	@touch $@
