"""Making stores on pools and clients of one's own, and checking a backend with the published suite."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, assert_type

import asyncpg
import pytest
from redis.asyncio import Redis

from convostore.contracts import SessionStore
from convostore.inmemory import InMemorySessionStore
from convostore.postgres import PostgresSessionStore, create_pool, schema_version
from convostore.redis import RedisSessionStore, create_client
from convostore.testing import SessionStoreContract
from convostore.tiered import TieredSessionStore


async def stores_on_what_is_open_already(dsn: str, url: str) -> list[SessionStore]:
    pool = await create_pool(dsn)
    client = create_client(url)
    persistent = PostgresSessionStore(pool, timeout=1.0)
    return [
        persistent,
        RedisSessionStore(client, hot_ttl=timedelta(minutes=5)),
        TieredSessionStore(client, persistent, hot_lease=timedelta(seconds=1)),
    ]


async def pools_and_clients_of_the_drivers(pool: asyncpg.Pool[Any], client: Redis) -> None:
    assert_type(PostgresSessionStore(pool), PostgresSessionStore)
    assert_type(RedisSessionStore(client), RedisSessionStore)


async def versions(dsn: str) -> None:
    assert_type(await schema_version(dsn), str)


class TestMySessions(SessionStoreContract):
    @pytest.fixture
    def store(self) -> SessionStore:
        return InMemorySessionStore()


def what_is_refused() -> None:
    SessionStore()  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]
    PostgresSessionStore()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    InMemorySessionStore(30.0)  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]
