# The two commands for everybody are `make demo` and `make test`. Nothing has to be done by hand before either.
PYTHON ?= python3
VENV := .venv
TRAIN := .venv-train
LOAD := .venv-bench
BIN := $(VENV)/bin
VS := $(BIN)/visualsearch
DEMO_QUERY := demo/queries/$(shell ls demo/queries 2>/dev/null | head -n 1)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo up down test test-unit lint bench chaos fuzz fuzz-api clean lock setup setup-dev setup-train setup-bench

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

demo: setup ## Set up, start the servers, index the demo corpus and search it
	@demo/run $(VS)

up: setup ## Start the servers, the indexer and the gateway
	$(VS) up --detach

down: ## Stop every process; keep the data
	@if [ -x $(VS) ]; then $(VS) down; fi

test: setup-dev setup-train lint ## Run every test; most of them against the real servers
	$(BIN)/pytest tests/unit -n 2 --dist worksteal
	$(BIN)/pytest --ignore tests/unit
	VISUALSEARCH_REQUIRE_TORCH=1 $(TRAIN)/bin/python -m pytest -m torch

test-unit: setup-dev ## The tests that need no server: under a minute on two quiet cores
	$(BIN)/pytest tests/unit -n 2 --dist worksteal -m "not stack and not torch and not browser and not chaos"

lint: setup-dev ## ruff, mypy --strict and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup-dev setup-bench ## Measure; writes the tables in benchmarks/results
	$(BIN)/python -m benchmarks

chaos: setup-dev ## Kill the servers one after the other under load
	$(BIN)/pytest -m chaos tests/chaos

fuzz: setup-dev ## Try hostile files for 20 minutes, then 2,000 on a separate stack, on a quiet machine; SEED=n chooses
	$(BIN)/python -m tests.fuzz.pictures --seconds 1200 --stack 2000 --seed $(or $(SEED),1)

fuzz-api: setup-dev ## Fuzz the REST API of a separate stack for 20 minutes
	$(BIN)/python -m tests.fuzz.rest

clean: down ## Remove everything that can be regenerated, and the local data
	rm -rf $(VENV) $(TRAIN) $(LOAD) .visualsearch out .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info

# A stamp records the lock file of an environment. A changed lock file rebuilds the environment.
setup: $(VENV)/serving.stamp
setup-dev: $(VENV)/dev.stamp
setup-train: $(TRAIN)/train.stamp
setup-bench: $(LOAD)/bench.stamp

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Python 3.11 to 3.13 is needed; name one by 'make PYTHON=python3.12 ...'."; exit 1; }
	$(PYTHON) -m venv $(VENV) || { echo "The venv module is needed: on Debian, apt-get install python3-venv."; exit 1; }

$(VENV)/serving.stamp: requirements/serving.lock pyproject.toml setup.py | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --require-hashes -r requirements/serving.lock
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: requirements/dev.lock $(VENV)/serving.stamp
	$(BIN)/python -m pip install -q --require-hashes -r requirements/dev.lock
	@touch $@

# The load generator has a separate environment.
$(LOAD)/bench.stamp: requirements/bench.lock | $(VENV)/bin/python
	$(BIN)/python -m venv $(LOAD)
	$(LOAD)/bin/python -m pip install -q --require-hashes -r requirements/bench.lock
	@touch $@

# torch without a hash: its CPU and CUDA builds share a version, and whichever pip finds will do.
$(TRAIN)/train.stamp: requirements/train.lock requirements/dev.lock | $(VENV)/bin/python
	$(BIN)/python -m venv $(TRAIN)
	$(TRAIN)/bin/python -m pip install -q --require-hashes -r requirements/dev.lock
	$(TRAIN)/bin/python -m pip install -q torch==2.13.0
	$(TRAIN)/bin/python -m pip install -q --no-deps --require-hashes -r requirements/train.lock
	$(TRAIN)/bin/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

lock: ## Resolve the dependencies anew (needs uv)
	requirements/lock
