# The commands of the house. A fresh machine needs Python 3.11+, pip and make; uv is used for speed where it is present.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
WORKERS ?= 2

BIN := $(VENV)/bin
LOAD_VENV := .venv-load
LOAD_BIN := $(LOAD_VENV)/bin
INTEGRATIONS_VENV := .venv-integrations
INTEGRATIONS_BIN := $(INTEGRATIONS_VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
installer = $(if $(UV),$(UV) pip install --quiet --python $(1)/python,\
                        $(1)/python -m pip install --quiet --disable-pip-version-check)
INSTALL := $(call installer,$(BIN))
COMPILE := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes \
           --no-emit-index-url --no-annotate --custom-compile-command 'make lock' --quiet $(ARGS)

# In two processes, each with servers of its own. Files stay whole, and in their order: the long ones come before the short.
SUITE = $(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

RUN := $(VENV)/requirements.installed
DEV := $(VENV)/requirements-dev.installed
LOAD := $(LOAD_VENV)/requirements-load.installed
INTEGRATIONS := $(INTEGRATIONS_VENV)/requirements-integrations.installed

.PHONY: help run demo test slow chaos check lint format bench load soak lock clean-data clean

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(RUN) ## start everything, with its own Postgres and Valkey, and print what to try; Ctrl-C stops it
	@exec $(BIN)/quotastack run

demo: $(DEV) ## an AI chat that sells tokens, on a QuotaStack of its own: docs/demo/README.md; Ctrl-C stops it
	@exec $(BIN)/python -m docs.demo

test: $(DEV) ## the test suite against real servers; ARGS go to pytest
	$(SUITE) -m 'not slow' $(ARGS)

slow: $(DEV) ## those of its proofs that take long, or much of the machine
	$(SUITE) -m slow $(ARGS)

chaos: $(DEV) ## proofs that take minutes: the whole product under load while everything breaks, and the like; ARGS="--chaos-seed 7 --chaos-seconds 480" repeats a run
	TMPDIR=$${TMPDIR:-/var/tmp} $(BIN)/pytest tests/chaos -s $(ARGS)

check: lint ## format, lint, types, ladder, then the test suite
	$(SUITE) -m 'not slow'

lint: $(DEV) ## format, lint, types, ladder
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

format: $(DEV) ## let ruff put everything in its form
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(DEV) ## the side-by-side benchmarks
	$(BIN)/python -m loadtests $(ARGS)

load: $(DEV) $(LOAD) ## a load test with Locust and the probes beside it: ARGS="mixed --seconds 60 --users 50"
	$(BIN)/python -m loadtests.load $(ARGS)

soak: $(DEV) $(LOAD) ## half of what the machine takes, for long, with what every process holds of it: ARGS="--seconds 600"
	$(BIN)/python -m loadtests.soak $(ARGS)

lock: $(DEV) ## write the lock files anew from pyproject.toml; ARGS=--upgrade takes the newest versions
	$(COMPILE) pyproject.toml --group build --output-file requirements.lock
	$(COMPILE) pyproject.toml --extra tracing --group dev --constraint requirements.lock --output-file requirements-dev.lock
	$(COMPILE) --group load --output-file requirements-load.lock
	$(COMPILE) --group integrations --output-file requirements-integrations.lock

clean-data: $(RUN) ## forget what the embedded servers hold; refused while `make run` is up
	@exec $(BIN)/quotastack clean-data

clean: ## remove what was built or cached, but no data
	rm -rf $(VENV) $(LOAD_VENV) $(INTEGRATIONS_VENV) build dist quotastack.egg-info .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: make run PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

# The lock holds every dependency with its hash; the checkout itself goes in as a link and asks no index.
$(VENV)/%.installed: %.lock pyproject.toml | $(BIN)/python
	$(INSTALL) --require-hashes -r $<
	$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

# Locust has an environment of its own: gevent and flask are never beside the product.
$(LOAD_BIN)/python: | $(BIN)/python
	$(BIN)/python -m venv $(LOAD_VENV)

$(LOAD): requirements-load.lock | $(LOAD_BIN)/python
	$(call installer,$(LOAD_BIN)) --require-hashes -r $<
	@touch $@

# LiteLLM has one, too: what it brings cannot stand beside what the product needs.
$(INTEGRATIONS_BIN)/python: | $(BIN)/python
	$(BIN)/python -m venv $(INTEGRATIONS_VENV)

$(INTEGRATIONS): requirements-integrations.lock | $(INTEGRATIONS_BIN)/python
	$(call installer,$(INTEGRATIONS_BIN)) --require-hashes -r $<
	@touch $@
