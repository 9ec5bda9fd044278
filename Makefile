# Every target sets up what it needs. `make` alone lists the targets.
SHELL := /bin/bash
PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/.ready
# One thread per process: the programs run one process per core.
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1
# The ledgers sync every row to disk; tests keep theirs in memory where the machine has a file system for it.
TEST_TMP := $(firstword $(wildcard /dev/shm) /tmp)

.DEFAULT_GOAL := help
.PHONY: help setup system-packages demo demo-gan demo-deployed test test-faults test-all check mutate bench \
  bench-round bench-secagg fmt wheel clean lock

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 20

$(READY): pyproject.toml deploy/constraints.txt deploy/requirements.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q "$$(grep '^torch==' deploy/constraints.txt)"
	$(BIN)/pip install -q --no-deps --require-hashes -r deploy/requirements.lock
	$(BIN)/pip install -q --no-deps -e .
	@touch $@

setup: $(READY) ## Make .venv and install everything into it (once)

system-packages: ## Install the Debian packages that only some tests need (as root)
	@missing=$$(grep -v '^#' deploy/system-packages.txt | while read -r p; do \
	  dpkg-query -W -f='$${Status}' "$$p" 2>/dev/null | grep -q 'ok installed' || echo "$$p"; done); \
	if [ -n "$$missing" ]; then \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing; fi

demo: $(READY) ## Three phantom hospitals train together; prints the path of the report
	@$(BIN)/wardround-sim demo --out build/demo

demo-gan: $(READY) ## They train a generator of synthetic images; prints the path of the report
	@$(BIN)/wardround-sim demo-gan --out build/demo-gan

demo-deployed: $(READY) ## The same as real processes with TLS on loopback; prints the path of the report
	@$(BIN)/wardround-sim demo-deployed --out build/demo-deployed

test: $(READY) ## Unit tests
	TMPDIR=$(TEST_TMP) $(BIN)/pytest -m "not statistical and not end_to_end and not gpu" $(ARGS)

test-faults: $(READY) ## Kill and stop real processes in the middle of rounds (also part of test-all)
	TMPDIR=$(TEST_TMP) $(BIN)/pytest tests/faults $(ARGS)

test-all: $(READY) ## All tests, the slow ones too
	TMPDIR=$(TEST_TMP) $(BIN)/pytest $(ARGS)

check: $(READY) ## Lint, format, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

mutate: $(READY) ## Take each check of the protocol out in turn: the test named for it must fail
	TMPDIR=$(TEST_TMP) $(BIN)/python -m tests.mutation $(ARGS)

bench: $(READY) ## Benchmarks: a table, and build/bench/*.json
	$(BIN)/python -m benchmarks

bench-round: $(READY) ## Rounds of real processes over TLS, beside stock Flower; a table and build/bench/round.json
	$(BIN)/python -m benchmarks.rounds

bench-secagg: $(READY) ## Secure aggregation against the cipher, Flower and CKKS; ARGS=--quick or --large
	$(BIN)/pip install -q --no-deps --require-hashes -r deploy/bench.lock
	$(BIN)/python -m benchmarks.secagg $(ARGS)

fmt: $(READY) ## Format, and mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(READY) ## Build the wheels of site, coordinator and simulation into dist/
	rm -rf dist
	$(BIN)/hatchling build -t custom -d dist

lock: $(READY) ## Renew the lock files in deploy/; torch is pinned in deploy/constraints.txt
	mkdir -p build
	echo 'torch ; python_version < "3"' > build/no-torch.txt
	grep -v '^torch==' deploy/constraints.txt > build/constraints.txt
	$(BIN)/uv pip compile pyproject.toml --extra simulation --extra dev --override build/no-torch.txt \
	  -c build/constraints.txt --generate-hashes --no-header --no-annotate --python-version 3.11 \
	  --upgrade -o deploy/requirements.lock
	grep -E '^[a-z0-9._-]+==' deploy/requirements.lock | sed 's/ .*//' > build/versions.txt
	for wheel in coordinator site; do \
	  $(BIN)/uv pip compile pyproject.toml --extra $$wheel --override build/no-torch.txt -c build/versions.txt \
	  --generate-hashes --no-header --no-annotate --python-version 3.11 --upgrade -o deploy/$$wheel.lock || exit 1; done
	echo 'tenseal>=0.3.16' | $(BIN)/uv pip compile - --no-deps --generate-hashes --no-header --no-annotate \
	  --python-version 3.11 --upgrade -o deploy/bench.lock

clean: ## Remove the environment and everything built
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
