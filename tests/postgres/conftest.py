"""Both versions of PostgreSQL, a pool for the stores, and an administrator's connection to look behind them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote, unquote

import asyncpg
import pytest

from convostore.embedded import Embedded
from convostore.postgres import create_pool
from tests.postgres.counting import Counted, counting
from tests.postgres.databases import connected
from tests.processes import private_directory

Pool: TypeAlias = "asyncpg.Pool[Any]"


@pytest.fixture(scope="module", params=["engines", "postgres16"], ids=["18", "16"])
def server(request: pytest.FixtureRequest) -> Embedded:
    """Each version."""
    opened: Embedded = request.getfixturevalue(request.param)
    return opened


@pytest.fixture(scope="module")
async def pool(server: Embedded) -> AsyncIterator[Pool]:
    """A pool on each version."""
    async with await create_pool(server.postgres_dsn) as opened:
        yield opened


@pytest.fixture
async def admin(server: Embedded) -> AsyncIterator[Any]:
    """A superuser's connection to each version, above row-level security."""
    async with connected(server.postgres_dsn) as connection:
        yield connection


@pytest.fixture(scope="module")
async def counted(engines: Embedded) -> AsyncIterator[Counted]:
    """A pool whose round trips are counted."""
    found = re.search(r"host=([^&]+)", engines.postgres_dsn)
    assert found is not None
    server = Path(unquote(found[1]), ".s.PGSQL.5432")
    with private_directory() as folder:
        async with counting(folder / server.name, server) as trips:
            dsn = engines.postgres_dsn.replace(found[1], quote(str(folder), safe=""))
            async with await create_pool(dsn, max_size=1) as pool:
                yield Counted(pool, dsn, trips)
