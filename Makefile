# Everything a newcomer needs: `make demo`, `make test`; the rest is in README.md.
# PYTHON: the interpreter the environment is made with (3.11 or newer).  VENV: where the environment lies.
# TESTERS: how many processes `make test` runs side by side; files of tests are given out in the order of their names.
PYTHON ?= python3
VENV ?= .venv
BANK ?= planted
DATA ?=
CLASSIFIER ?=
TESTERS ?= 2
RUN := $(VENV)/bin/
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test up bench lint clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## make the environment from the lock file

# The stamp is written last: an interrupted set-up starts again, a finished one costs nothing.
# The lock is installed with its dependencies: the CUDA build of torch brings its own libraries, the CPU build none.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed, $(PYTHON) is older: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN)python -m pip install --disable-pip-version-check -r requirements.lock
	$(RUN)python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(RUN)python -m pip check
	@touch $@

demo: $(STAMP) ## masks and one audit, end to end (BANK=, DATA=, CLASSIFIER= choose others)
	@$(RUN)cuecheck demo --bank '$(BANK)' $(if $(DATA),--data '$(DATA)') $(if $(CLASSIFIER),--classifier '$(CLASSIFIER)')

up: $(STAMP) ## keep the stack running: Redis, service, worker (Ctrl-C ends it)
	@exec $(RUN)cuecheck up

test: $(STAMP) ## every test (TESTERS=, how many test processes)
	$(RUN)python -m pytest -n $(TESTERS) --dist loadfile --no-loadscope-reorder

bench: $(STAMP) ## the measured ratios, also to bench.json
	$(RUN)python -m tests.bench

lint: $(STAMP) ## ruff and the type checker
	$(RUN)ruff check .
	$(RUN)ruff format --check .
	$(RUN)mypy

clean: ## remove what was built (not the environment)
	rm -rf build dist *.egg-info bench.json .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find models jobs service tests -name __pycache__ -type d -prune -exec rm -rf {} +
