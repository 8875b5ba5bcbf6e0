# Everything here needs Python 3.11 and make; the rest is set up in .venv by the first target that needs it.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
BENCH := .venv-bench
PROBES := .venv-probes
INJECTION := .venv-injection
JOBS ?= 2

.PHONY: help demo test sim soak fuzz check coverage fix bench injection probes lock clean

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

$(VENV)/.core: requirements.lock
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed: set PYTHON=... to a Python 3.11 or later" >&2; exit 3; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing what is locked in $< ..." >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@printf '#!/bin/sh\nPYTHONPATH="%s/src" exec "%s/$(BIN)/python" -m answerable "$$@"\n' "$(CURDIR)" "$(CURDIR)" > $(BIN)/answerable
	@chmod +x $(BIN)/answerable
	@touch $@

$(VENV)/.installed: $(VENV)/.core requirements-dev.lock pyproject.toml
	@echo "installing what is locked in requirements-dev.lock ..." >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(VENV)/.core  ## a support agent works through a batch of tickets under real controls
	@ANSWERABLE_COMMAND=$(BIN)/answerable $(BIN)/answerable demo

test: $(VENV)/.installed  ## the tests, under ten minutes on two cores
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal tests bench/tests

SEED ?= 0
COUNT ?= 200

sim: $(VENV)/.installed  ## several workers simulated with every fault: SEED=n COUNT=n; ends with one line of figures
	@PYTHONPATH=src:. $(BIN)/python -m tests.sim.play_seeds --seed $(SEED) --count $(COUNT)

soak: $(VENV)/.installed  ## an hour's trouble in fifteen minutes, on PostgreSQL: workers killed, halts, ten thousand waiting
	@PYTHONPATH=src:. $(BIN)/python -m tests.soak $(WHICH)

MUTANTS ?= 10000

fuzz: $(VENV)/.installed  ## calls and bundles damaged at random, MUTANTS=n of each: nothing sent or loosened unseen
	@FUZZ_COUNT=$(MUTANTS) $(BIN)/python -m pytest -s -p no:randomly --timeout 3600 tests/property/test_policy_fuzz.py

check: $(VENV)/.installed  ## lint, types, layers, documentation
	@$(BIN)/ruff format --check --quiet src tests bench examples || { echo "run make fix" >&2; exit 1; }
	@$(BIN)/ruff check --quiet src tests bench examples
	@$(BIN)/basedpyright --level error
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports
	@$(BIN)/python -m pytest -p no:randomly tests/test_tidy.py

fix: $(VENV)/.installed  ## format, and fix what can be fixed
	@$(BIN)/ruff check --fix --quiet src tests bench examples || true
	@$(BIN)/ruff format --quiet src tests bench examples

coverage: $(VENV)/.installed  ## line and branch coverage of kernel and gates: all of it
	@$(BIN)/python -m pytest -p no:randomly tests/unit tests/property --cov=answerable.kernel --cov=answerable.gates --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=100

$(BENCH)/.installed: pyproject.toml
	@test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --group bench -e ".[postgres]"
	@touch $@

bench: $(BENCH)/.installed  ## our figures beside the peers', interleaved in one run
	@$(BENCH)/bin/python -m bench.harness steps
	@$(BENCH)/bin/python -m bench.harness growth
	@$(BENCH)/bin/python -m bench.harness scale
	@$(BENCH)/bin/python -m bench.harness postgres

$(INJECTION)/.installed: pyproject.toml
	@test -x $(INJECTION)/bin/python || $(PYTHON) -m venv $(INJECTION)
	@$(INJECTION)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@$(INJECTION)/bin/python -m pip install --quiet --disable-pip-version-check --group injection -e .
	@touch $@

injection: $(INJECTION)/.installed  ## worst-case prompt injections against the gates, and what still needs nobody
	@$(INJECTION)/bin/python -m bench.injection

$(PROBES)/.installed: pyproject.toml
	@test -x $(PROBES)/bin/python || $(PYTHON) -m venv $(PROBES)
	@$(PROBES)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@$(PROBES)/bin/python -m pip install --quiet --disable-pip-version-check --group probes -e .
	@touch $@

probes: $(PROBES)/.installed  ## calls and rules that must come to nothing, put to us and to peers
	@$(PROBES)/bin/python -m bench.probes

LOCK := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --upgrade --quiet

lock:  ## pin every dependency with its hashes, and no index address
	@$(BIN)/$(LOCK) --output-file requirements.lock
	@$(BIN)/$(LOCK) --group dev --extra models --extra postgres --extra prove --extra server --constraint requirements.lock --output-file requirements-dev.lock

clean:  ## remove what was made, but no journal
	rm -rf $(VENV) $(BENCH) $(INJECTION) $(PROBES) .pytest_cache .ruff_cache .hypothesis .coverage dist build
