# make setup demo test check bench docs   (lock build clean)
# Only the first run of `setup` uses the network. PYTHON=/path/to/python chooses the interpreter, ARGS="…" is passed on.

BIN := .venv/bin
STAMP := .venv/.setup-done
CODE := $(wildcard src tests bench examples)
export PYTHON

.PHONY: help setup demo test check bench docs lock build clean

help:
	@sed -n 1,2p Makefile

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml scripts/setup
	@scripts/setup
	@touch $@

demo: setup
	$(BIN)/convostore demo $(ARGS)

test: setup
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 $(ARGS)

check: setup
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy --strict $(CODE)
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 $(ARGS)

bench: setup
	$(BIN)/python -m bench $(ARGS)

docs: setup
	$(BIN)/mkdocs build --strict

lock: setup
	$(BIN)/uv pip compile pyproject.toml --extra all --extra testing --group dev --python-version 3.11 --universal \
		--generate-hashes --upgrade --quiet --custom-compile-command "make lock" --output-file requirements.lock

build: setup
	$(BIN)/uv build --no-build-isolation --python $(BIN)/python

clean:
	rm -rf .venv build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
