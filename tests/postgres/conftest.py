"""Both versions of PostgreSQL, a pool for the stores, and an administrator's connection to look behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import pytest

from convostore.embedded import Embedded
from convostore.postgres import create_pool
from convostore.postgres.gathering import GatheredWrites
from tests.postgres.databases import NO_TENANT, connected, distributed_database
from tests.postgres.filled import fill

Pool: TypeAlias = "asyncpg.Pool[Any]"

TABLES = r"""
SELECT relname FROM pg_class WHERE relnamespace = 'convostore'::regnamespace AND relkind IN ('r', 'p')
AND NOT relispartition AND relname <> ALL ($1) AND relname !~ '_\d{6,}$'
"""
"""The tables but some, without the shards that a coordinator of Citus holds."""


@pytest.fixture(
    scope="module", params=["engines", pytest.param("postgres16", marks=pytest.mark.slow)], ids=["18", "16"]
)
def server(request: pytest.FixtureRequest) -> Embedded:
    """Each version."""
    opened: Embedded = request.getfixturevalue(request.param)
    return opened


@pytest.fixture(scope="module")
async def prepared(engines: Embedded) -> AsyncIterator[str]:
    """The DSN of a database that is distributed by the stand-in for Citus."""
    async with distributed_database(engines.postgres_dsn) as dsn:
        yield dsn


@pytest.fixture(scope="module")
async def pool(server: Embedded) -> AsyncIterator[Pool]:
    """A pool on each version."""
    async with await create_pool(server.postgres_dsn) as opened:
        yield opened


@pytest.fixture(scope="module")
async def tables(server: Embedded) -> list[str]:
    """Every table of the schema that holds a tenant's data."""
    async with connected(server.postgres_dsn) as connection:
        return [name for (name,) in await connection.fetch(TABLES, NO_TENANT)]


@pytest.fixture(scope="module")
async def tenant(pool: Pool) -> UUID:
    """A tenant with a row in every table."""
    return await fill(pool)


@pytest.fixture
async def admin(server: Embedded) -> AsyncIterator[Any]:
    """A superuser's connection to each version, above row-level security."""
    async with connected(server.postgres_dsn) as connection:
        yield connection


@pytest.fixture
def gathering_from_the_second_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gather writes beside a single one."""
    monkeypatch.setattr(GatheredWrites, "few", 1)
