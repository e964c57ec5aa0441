"""The three session stores on real servers, and both servers behind proxies that count round trips."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote, unquote

import asyncpg
import pytest
from redis.asyncio import Redis

from convostore.contracts import SessionStore
from convostore.embedded import Embedded
from convostore.postgres import PostgresSessionStore, create_pool
from convostore.redis import RedisSessionStore, create_client
from convostore.tiered import TieredSessionStore
from tests.postgres.counting import Trips, counting
from tests.processes import private_directory

DATABASE = 6
"""Of the shared Valkey, for tests of which each empties it or uses keys of its own."""

Worker: TypeAlias = Callable[[], Awaitable[SessionStore]]


def store_on(
    kind: str,
    client: Redis,
    pool: asyncpg.Pool[Any],
    *,
    max_age: timedelta | None = None,
    timeout: float = 60.0,
    **options: Any,
) -> SessionStore:
    """Return a store of one of the three kinds, whose deadline no busy machine makes it miss."""
    if kind == "redis":
        return RedisSessionStore(client, max_age=max_age, timeout=timeout, **options)
    persistent = PostgresSessionStore(pool, max_age=max_age, timeout=timeout)
    return persistent if kind == "postgres" else TieredSessionStore(client, persistent, timeout=timeout, **options)


@pytest.fixture(params=["redis", "postgres", "tiered"])
def kind(request: pytest.FixtureRequest) -> str:
    """Each of the three kinds of stores."""
    return str(request.param)


@pytest.fixture
async def worker(kind: str, engines: Embedded) -> AsyncIterator[Worker]:
    """Opens stores that share nothing but the servers, as in several processes."""
    async with AsyncExitStack() as stack:

        async def opened() -> SessionStore:
            pool = await stack.enter_async_context(await create_pool(engines.postgres_dsn))
            client = await stack.enter_async_context(create_client(f"{engines.redis_url}?db={DATABASE}"))
            return store_on(kind, client, pool)

        yield opened


class Counted:
    """A client and a pool of one connection each, whose round trips are counted.

    Attributes:
        client: to Valkey, through a proxy.
        pool: to PostgreSQL, through a proxy.
    """

    def __init__(self, client: Redis, pool: asyncpg.Pool[Any], trips: tuple[Trips, Trips]) -> None:
        self.client = client
        self.pool = pool
        self._trips = trips

    async def during(self, call: Callable[[], Awaitable[object]]) -> tuple[int, int]:
        """Make a call and return its round trips to Valkey and to PostgreSQL."""
        for trips in self._trips:
            trips.taken()
        await call()
        to_valkey, to_postgres = (trips.taken() for trips in self._trips)
        return to_valkey, to_postgres


@pytest.fixture
async def counted(engines: Embedded) -> AsyncIterator[Counted]:
    """Both servers, with their round trips counted."""
    found = re.search(r"host=([^&]+)", engines.postgres_dsn)
    assert found is not None
    postgres, valkey = Path(unquote(found[1]), ".s.PGSQL.5432"), Path(engines.redis_url.removeprefix("unix://"))
    with private_directory() as folder:
        async with counting(folder / "v", valkey) as first, counting(folder / postgres.name, postgres) as second:
            dsn = engines.postgres_dsn.replace(found[1], quote(str(folder), safe=""))
            url = f"unix://{folder / 'v'}?db={DATABASE}"
            async with create_client(url, max_connections=1) as client, await create_pool(dsn, max_size=1) as pool:
                yield Counted(client, pool, (first, second))
