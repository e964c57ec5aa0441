"""The three session stores on real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, TypeAlias

import asyncpg
import pytest
from redis.asyncio import Redis

from convostore.contracts import SessionStore
from convostore.embedded import Embedded
from convostore.postgres import PostgresSessionStore, create_pool
from convostore.redis import RedisSessionStore, create_client
from convostore.tiered import TieredSessionStore

DATABASE = 6
"""Of the shared Valkey; tests flush it or use keys of their own."""

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
    """Return a store of one of the three kinds, with a deadline that holds on a busy machine."""
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
