"""An import loads the backends that it needs, and no others."""

from __future__ import annotations

import subprocess
import sys

import pytest

DRIVERS = {"asyncpg", "redis", "hiredis", "zstandard", "sqlalchemy", "alembic"}
TEST_TOOLS = {"pytest", "hypothesis"}
SETTINGS = {"pydantic_settings", "dotenv"}
HEAVY = {*DRIVERS, *TEST_TOOLS, *SETTINGS, "pydantic"}

LOADS = {
    "convostore": set[str](),
    "convostore.errors": set[str](),
    "convostore.models": {"pydantic"},
    "convostore.contracts": {"pydantic"},
    "convostore.inmemory": {"pydantic"},
    "convostore.postgres": {"pydantic", "asyncpg"},
    "convostore.redis": {"pydantic", "redis", "hiredis", "zstandard"},
    "convostore.testing": {"pydantic", "pytest"},
}


def loaded_by(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after a statement."""
    program = f"import sys; {statement}; print(*sys.modules)"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return set(finished.stdout.split())


@pytest.mark.parametrize("module", LOADS)
def test_an_import_loads_only_what_it_needs(module: str) -> None:
    needless = (loaded_by(f"import {module}") & HEAVY) - LOADS[module]
    assert not needless, f"import {module} loads {sorted(needless)}"


def test_an_import_of_the_package_loads_nothing_but_the_standard_library() -> None:
    alone, loaded = loaded_by("pass"), loaded_by("import convostore")
    assert {name.partition(".")[0] for name in loaded - alone} - sys.stdlib_module_names == {"convostore"}


@pytest.mark.parametrize("command", ["--help", "--version", "inspect --help", "migrate roles --help"])
def test_help_loads_nothing_that_commands_run_on(command: str) -> None:
    loaded = loaded_by(f"from convostore.cli.app import app; app({command.split()}, standalone_mode=False)")
    assert not loaded & (HEAVY - {"pydantic"} | {"mako", "numpy", "opentelemetry"})


def test_opening_stores_in_memory_loads_no_driver() -> None:
    loaded = loaded_by("import asyncio, convostore; asyncio.run(convostore.open_stores(backend='memory').__aenter__())")
    assert not loaded & (DRIVERS | TEST_TOOLS)
    assert "convostore.inmemory" in loaded
