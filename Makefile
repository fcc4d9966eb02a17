# `make` lists the targets. Every target sets up .venv first, from hashes in requirements.lock.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= 2

.PHONY: help
help: ## Show this list
	@echo "AITBC. The first target you run sets up $(VENV) (once: 15 s and the download)."
	@echo
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: $(READY) ## Make .venv with everything in requirements.lock (15 s and the download, then instant)

$(READY): requirements.lock pyproject.toml scripts/setup.sh
	@scripts/setup.sh $(VENV)
	@touch $@

.PHONY: demo
demo: $(READY) ## A network, a miner and four kinds of job from escrow to settlement, then stop (30 s; 98 MB once)
	$(BIN)/aitbc demo

.PHONY: devnet
devnet: $(READY) ## A network on this machine for your own trials (until Ctrl-C)
	$(BIN)/aitbc devnet

.PHONY: test
test: lint ## The gate: lint, then every test (12 minutes on 2 busy cores)
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

.PHONY: lint
lint: $(READY) ## ruff, mypy --strict and the layer contracts (under a minute)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: engines
engines: $(READY) ## The heavy engines in environments of their own: Ray, Blender (1 minute and 450 MB, once)
	@scripts/setup.sh .venv-engines requirements-engines.lock
	@scripts/engines.sh

.PHONY: test-engines
test-engines: engines ## The tests that need them (3 minutes)
	.venv-engines/bin/pytest -m engines

.PHONY: test-diffusers
test-diffusers: $(READY) ## The image engine that needs torch, in an environment of its own (1 minute; 3 GB once)
	@scripts/setup.sh .venv-diffusers requirements-diffusers.lock
	.venv-diffusers/bin/pytest -m diffusers

.PHONY: e2e
e2e: $(READY) ## Four real nodes under load and faults: bounds and all (7 minutes; root for partitions)
	$(BIN)/python -m tests.e2e

.PHONY: simulate
simulate: $(READY) ## Whole clusters from SEEDS seeds (20,000 by default) under faults, on every core
	$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),20000)

.PHONY: power-cut
power-cut: $(READY) ## Power cuts at any write of a node: IMAGES of the disk, from number FIRST on (2,500: 2 minutes)
	$(BIN)/python -m tests.power --images $(or $(IMAGES),2500) --first $(or $(FIRST),0)

.PHONY: fuzz
fuzz: $(READY) ## Spoilt frames: 1,000,000 into a node, 10,000 over libp2p to a live one (11 minutes)
	$(BIN)/python -m tests.fuzz

.PHONY: fuzz-api
fuzz-api: $(READY) ## Every operation of the API in four roles: EXAMPLES of each (100)
	$(BIN)/python -m tests.fuzz.api --examples $(or $(EXAMPLES),100)

.PHONY: sdk-js
sdk-js: $(READY) ## Build the JavaScript client and test it at a running node (30 s; the npm registry once)
	$(BIN)/pytest tests/sdk_js

.PHONY: sdk-js-browser
sdk-js-browser: $(READY) ## The same package in a headless Chromium (10 s; Debian's package chromium)
	$(BIN)/python -m tests.sdk_js.browser

.PHONY: sdk-js-contract
sdk-js-contract: $(READY) ## Write sdk-js/openapi.json again, after a change of routes or models
	$(BIN)/python -m tests.sdk_js.contract

.PHONY: api-page
api-page: $(READY) ## Write docs/api.md again, after a change of routes (5 s)
	$(BIN)/python -m tests.properties.api_page

.PHONY: proxies
proxies: $(READY) ## nginx and Caddy with the example configurations before a node (20 s; both by apt)
	$(BIN)/python -m tests.e2e.proxies

.PHONY: bench
bench: $(READY) ## Every benchmark, as ratios to something measured in the same run (about 15 minutes)
	$(BIN)/python -m bench

.PHONY: dev-key
dev-key: $(READY) ## Make the committed DEV proving key again, byte for byte (3 minutes, needs the npm registry)
	$(BIN)/python -m zk.ceremony dev-key

.PHONY: format
format: $(READY) ## Lay out the code and mend what ruff can mend (a second)
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

.PHONY: lock
lock: $(READY) ## Resolve pyproject.toml again into requirements.lock, raising nothing needlessly (5 s)
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate \
		--python-version 3.11 --extra dev --custom-compile-command "make lock" \
		$(if $(UPGRADE),--upgrade) pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate \
		--python-version 3.11 --extra dev --extra ray --custom-compile-command "make lock" \
		--constraint requirements.lock pyproject.toml --output-file requirements-engines.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate \
		--python-version 3.11 --extra dev --extra diffusers --custom-compile-command "make lock" \
		--constraint requirements.lock pyproject.toml --output-file requirements-diffusers.lock

.PHONY: clean
clean: ## Remove .venv, caches and built files
	rm -rf $(VENV) .venv-* build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache \
		sdk-js/node_modules sdk-js/dist sdk-js/build sdk-js/src/build
