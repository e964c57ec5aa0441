"""What a further backend needs is public: whatever the in-memory reference takes from lower floors."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from convostore import backends
from tests.unit.test_floors import MODULES, room

REFERENCE = [name for name in MODULES if room(name) == "inmemory"]
BELOW = ("call", "domain", "gateway")
DEFAULTS = {"DEFAULT_TIMEOUT", "HOT_TTL", "MAX_AGE"}
"""Defaults of constructors: a backend passes on what it is given, or chooses its own."""


def taken(module: str) -> Iterator[str]:
    """Yield the names that a module imports from the floors below, except whole modules."""
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and room(node.module) in BELOW:
            yield from (alias.name for alias in node.names if f"{node.module}.{alias.name}" not in MODULES)


@pytest.mark.parametrize("module", REFERENCE)
def test_what_the_reference_takes_from_below_is_public(module: str) -> None:
    assert set(taken(module)) - DEFAULTS - set(backends.__all__) == set()


def test_the_reference_takes_something() -> None:
    assert len({name for module in REFERENCE for name in taken(module)}) > 30


def test_nothing_is_defined_here() -> None:
    assert [
        name for name in backends.__all__ if getattr(getattr(backends, name), "__module__", "") == "convostore.backends"
    ] == []
