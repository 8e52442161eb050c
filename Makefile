# Everything runs in .venv, which the first target that needs it makes. PYTHON chooses the interpreter (3.11 or newer),
# ARGS goes to the program: make test ARGS="-k masking -x". pip's own settings (PIP_INDEX_URL, ...) are honoured.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# npm writes it last.
CLIENTS := tests/clients/node_modules/.package-lock.json

# huggingface_hub reports imports and downloads over the network by default; a demo and a test should not phone home.
export HF_HUB_DISABLE_TELEMETRY := 1

.DEFAULT_GOAL := help
.PHONY: help demo demo-hub demo-family test test-long check bench format install clients clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(STAMP) ## pre-train and distil a tiny student on embedded data, export it (ARGS="--help" for the dials)
	$(BIN)/python recipes/pd.py --preset toy $(ARGS)
# The same students again, so nothing is trained twice; other options than the demo's would train others.
ifeq ($(ARGS),)
	$(BIN)/python recipes/ship.py --preset toy --students 2-128
endif

demo-hub: demo ## push the demo's students to a Hub of this machine and load one back, without an account
	$(BIN)/python -m tests.hub_server -- $(BIN)/python -m tests.hub_server.demo

demo-family: $(STAMP) ## train toys of all 24, push them to a Hub of this machine and load one back, without an account
	$(BIN)/python -m tests.hub_server -- $(BIN)/python -m tests.hub_server.demo_family $(ARGS)

# One thread each: the models are tiny, and some tests compare the bits of two runs. A file's tests share what is slow to
# make, so they stay together.
test: $(STAMP) ## run the tests, two files at a time (ARGS="-k word")
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

test-long: $(STAMP) ## run the tests that take a minute each, which `make test` leaves out
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m long $(ARGS)

# Offline, because a check should give the same answer without a network and without a token.
check: $(STAMP) ## formatting, lint, types and the workflows
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/zizmor --offline --no-progress --quiet .github/workflows

bench: $(STAMP) ## measure ours beside what a user would pick otherwise (ONLY=mlm for one, ARGS="--rounds 3")
	$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) $(ARGS)

format: $(STAMP) ## rewrite the sources as `make check` wants them
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

install: $(STAMP) ## make .venv and install everything, pinned (the other targets do this too)

clients: $(CLIENTS) ## install transformers.js and a driver of Chromium from npm, for the tests of clients

clean: ## remove .venv, caches and build output (runs/ stays: it may hold days of training)
	rm -rf .venv dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis tests/clients/node_modules
	find wellread_hf recipes tests -type d -name __pycache__ -prune -exec rm -rf {} +

# The stamp comes last, so an interrupted install is taken up again, and a finished one costs nothing.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "wellread-hf needs Python 3.11 or newer; say which: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing into .venv; the first time takes minutes, mostly for torch."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt -e ".[cluster,dev,endpoint,export,serve,tensorboard,trackio]"
	@touch $@

$(CLIENTS): tests/clients/package-lock.json
	cd tests/clients && npm ci --no-progress --loglevel error
