"""Any sequence of operations on sessions has the same answers on Redis and on two tiers as in the reference."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest

from convostore.embedded import Embedded
from convostore.postgres import PostgresSessionStore, create_pool
from convostore.redis import RedisSessionStore, create_client
from convostore.testing.machines import SessionMachine, check
from convostore.tiered import TieredSessionStore


@pytest.mark.parametrize("tiered", [False, True], ids=["redis", "tiered"])
def test_any_sequence_of_operations_has_the_same_answers(engines: Embedded, tiered: bool) -> None:
    @asynccontextmanager
    async def opened(clock: Callable[[], datetime]) -> AsyncIterator[Any]:
        async with (
            create_client(f"{engines.redis_url}?db=11") as client,
            await create_pool(engines.postgres_dsn) as pool,
        ):
            if tiered:
                store: Any = TieredSessionStore(client, PostgresSessionStore(pool, timeout=30, clock=clock), timeout=30)
            else:
                store = RedisSessionStore(client, max_age=None, timeout=30, clock=clock)
            yield store
            await store.aclose()

    check(SessionMachine, opened)
