"""Real engines, one pair per test session, and private areas that a test must leave empty."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from convostore.embedded import Embedded, open_embedded
from convostore.postgres import migrate
from tests.processes import alive_in, private_directory, until
from tests.redis.recording import recording

SLOW_FOLDERS = frozenset({"cli", "examples", "faults", "isolation", "replay", "sessions"})
"""Processes of their own, whole conversations, and concurrency, faults and isolation proven at length."""

SLOW_FIXTURES = frozenset({"area", "cluster", "empty", "filled", "indexed", "postgres16", "service"})
"""Servers besides the pair that all tests share, databases to migrate, and tables of thousands of rows."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by where they are and what they need; a test that is slow for another reason says so itself."""
    for item in items:
        fixtures = item.fixturenames if isinstance(item, pytest.Function) else ()
        if item.path.parent.name in SLOW_FOLDERS or SLOW_FIXTURES.intersection(fixtures):
            item.add_marker(pytest.mark.slow)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-round-trips", action="store_true", help="rewrite tests/round_trips/table.md as measured")


@pytest.fixture(scope="session")
async def engines() -> AsyncIterator[Embedded]:
    """PostgreSQL 18, migrated, and Valkey, whose commands are recorded."""
    async with open_embedded(ephemeral=True) as opened:
        await migrate(opened.postgres_dsn)
        with recording(opened.redis_url.removeprefix("unix://")):
            yield opened


@pytest.fixture(scope="session")
async def postgres16() -> AsyncIterator[Embedded]:
    """PostgreSQL 16, migrated."""
    async with open_embedded(ephemeral=True, valkey=False, postgres_version=16) as opened:
        await migrate(opened.postgres_dsn)
        yield opened


@pytest.fixture
async def area(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Path]:
    """A directory with a short path for homes and sockets, which the servers can enter in every mode."""
    with private_directory() as path:
        monkeypatch.setenv("TMPDIR", str(path))
        monkeypatch.setattr(tempfile, "tempdir", str(path))
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        yield path
        await until(lambda: not alive_in(path), "all processes have ended")
        assert [entry for entry in os.listdir(path) if entry.startswith("convostore-")] == []


@pytest.fixture
async def own(area: Path) -> AsyncIterator[Embedded]:
    """A Valkey server of the test's own."""
    async with open_embedded(area / "home", postgres=False) as engines:
        yield engines
