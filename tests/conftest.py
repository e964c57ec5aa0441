"""Real engines, one pair per test session, and private areas that a test must leave empty."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from convostore.embedded import Embedded, open_embedded
from convostore.postgres import migrate
from tests.processes import alive_in, private_directory, until
from tests.redis.recording import recording

SLOW_FOLDERS = frozenset(
    {"cli", "docs", "examples", "faults", "isolation", "pooler", "replay", "secrets", "sessions", "stores"}
)
"""Processes of their own, whole conversations, and concurrency, faults, isolation and secrets proven at length."""

TWINS = "convostore.testing.isolation"
"""Every method of a store beside a second tenant."""

SLOW_FIXTURES = frozenset({"area", "cluster", "empty", "filled", "indexed", "postgres16", "service"})
"""Servers besides the pair that all tests share, databases to migrate, and tables of thousands of rows."""

RELEASES = "test_other_releases.py"
"""The contract suites once more, on a newer schema: by default on the newest PostgreSQL alone."""

FACTS = pytest.StashKey[dict[str, Any]]()
"""What tests report for the page on trust."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by where they are and what they need; a test that is slow for another reason says so itself."""
    for item in items:
        if item.path.name == RELEASES and "16" in getattr(item, "callspec", SimpleNamespace(id="")).id.split("-"):
            item.add_marker(pytest.mark.trust)
    for option in ("trust", "online"):
        if not config.getoption(option):
            left_out = [item for item in items if item.get_closest_marker(option)]
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if item not in left_out]
    for item in items:
        fixtures = item.fixturenames if isinstance(item, pytest.Function) else ()
        of_twins = isinstance(item, pytest.Function) and item.function.__module__.startswith(TWINS)
        if of_twins or item.path.parent.name in SLOW_FOLDERS or SLOW_FIXTURES.intersection(fixtures):
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Run one test after another if a cluster of Citus is given: it is shared, and one of them stops a node."""
    return 0 if "CONVOSTORE_TEST_CITUS_URL" in os.environ else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-round-trips", action="store_true", help="rewrite tests/round_trips/table.md as measured")
    parser.addoption("--trust", action="store_true", help="run the exhaustive proofs as well, which are marked `trust`")
    parser.addoption("--online", action="store_true", help="run what needs a package registry as well, marked `online`")
    parser.addoption("--trust-facts", type=Path, help="write what the proofs counted to this file, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FACTS] = {}


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the facts, or hand them to the process that collects those of all workers."""
    config, path = session.config, session.config.getoption("trust_facts")
    if hasattr(config, "workeroutput"):
        config.workeroutput["facts"] = json.dumps(config.stash[FACTS])
    elif path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(config.stash[FACTS], indent=2, sort_keys=True) + "\n")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Merge the facts of a worker."""
    node.config.stash[FACTS].update(json.loads(getattr(node, "workeroutput", {}).get("facts", "{}")))


@pytest.fixture(scope="session")
def trust_facts(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What proofs counted, by name; values are JSON."""
    return request.config.stash[FACTS]


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
