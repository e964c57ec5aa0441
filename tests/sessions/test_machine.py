"""Any sequence of operations on sessions has the same answers on Redis and on two tiers as in the reference."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest

from convostore.embedded import Embedded
from convostore.postgres import PostgresSessionStore, create_pool, migrate
from convostore.redis import RedisSessionStore, create_client
from convostore.testing.machines import SessionMachine, check
from convostore.tiered import TieredSessionStore
from tests.postgres.databases import fresh_database


@pytest.mark.parametrize("tiered", [False, True], ids=["redis", "tiered"])
def test_any_sequence_of_operations_has_the_same_answers(engines: Embedded, tiered: bool) -> None:
    @asynccontextmanager
    async def opened(clock: Callable[[], datetime]) -> AsyncIterator[Any]:
        # A database of its own: the machine's clock stands in the past, and other tests sweep old sessions.
        async with fresh_database(engines.postgres_dsn) as dsn:
            await migrate(dsn)
            async with (
                create_client(f"{engines.redis_url}?db=11") as client,
                await create_pool(dsn) as pool,
            ):
                persistent = PostgresSessionStore(pool, timeout=30, clock=clock)
                store: TieredSessionStore | RedisSessionStore = (
                    TieredSessionStore(client, persistent, timeout=30)
                    if tiered
                    else RedisSessionStore(client, max_age=None, timeout=30, clock=clock)
                )
                yield store
                await store.aclose()

    check(SessionMachine, opened)
