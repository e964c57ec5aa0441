# make setup demo format lint test-fast test check bench docs   (test-lowest test-pythons trust soak peers audit lock build release clean)
# Only the first run of `setup` uses the network. PYTHON=/path/to/python chooses the interpreter, ARGS="…" is passed on.

BIN := .venv/bin
CODE := $(wildcard src tests bench examples scripts)
IN_PARALLEL := --numprocesses auto --maxprocesses 4 --dist worksteal
COMPILE = $(BIN)/uv pip compile pyproject.toml --extra all --extra testing --python-version 3.11 --universal \
	--generate-hashes --upgrade --quiet --custom-compile-command "make lock"
PROOFS := tests/isolation tests/faults tests/postgres/test_other_releases.py tests/secrets tests/sessions/test_histories.py tests/sessions/test_linearizability.py
export PYTHON

.PHONY: help setup demo format lint test-fast test check test-lowest test-pythons trust soak audit bench peers docs lock build release clean

help:
	@sed -n 1,2p Makefile

setup: .venv/.setup-done

.venv/.setup-done: requirements.lock
.venv-lowest/.setup-done: requirements-lowest.lock
.venv-peers/.setup-done: bench/requirements-peers.lock
%/.setup-done: pyproject.toml scripts/setup src/convostore/__init__.py
	@scripts/setup $* $(filter %.lock,$^)
	@touch $@

demo: setup
	$(BIN)/convostore demo $(ARGS)

format: setup
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

lint: setup
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy --strict $(CODE)
	$(BIN)/basedpyright
	$(BIN)/python scripts/check_locks.py

test-fast: setup
	$(BIN)/pytest $(IN_PARALLEL) -m "not slow" $(ARGS)

test: setup
	$(BIN)/pytest $(IN_PARALLEL) $(ARGS)

check: lint test

test-lowest: .venv-lowest/.setup-done
	.venv-lowest/bin/pytest $(IN_PARALLEL) -m "not slow" $(ARGS)

test-pythons: setup
	$(BIN)/pytest $(IN_PARALLEL) --online -m online $(ARGS)

trust: setup
	$(BIN)/pytest --numprocesses 4 --dist worksteal --trust --trust-facts build/trust.json $(PROOFS) $(ARGS)
	$(BIN)/python scripts/trust.py build/trust.json

soak: setup
	$(BIN)/python -m bench.soak $(ARGS)

audit: setup
	scripts/audit

bench: setup .venv-peers/.setup-done
	$(BIN)/python -m bench.everything $(ARGS)

peers: .venv-peers/.setup-done
	.venv-peers/bin/python -m bench.peers $(ARGS)

docs: setup
	$(BIN)/mkdocs build --strict

lock: setup
	$(COMPILE) --group dev --output-file requirements.lock
	$(COMPILE) --group test --resolution lowest-direct --output-file requirements-lowest.lock
	$(COMPILE) --group peers --output-file bench/requirements-peers.lock

build: setup
	$(BIN)/uv build --no-build-isolation --python $(BIN)/python

release: lint
	$(BIN)/pytest tests/packaging
	$(BIN)/python -m scripts.release

clean:
	rm -rf .venv .venv-lowest .venv-peers build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
