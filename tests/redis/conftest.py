"""Valkey for the tests: an empty database on the shared server, and a server of a test's own for fault injection."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from convostore.embedded import Embedded
from convostore.redis import RedisSessionStore, create_client
from tests.redis.administration import flush


@pytest.fixture
async def client(engines: Embedded) -> AsyncIterator[Redis]:
    """A client of an empty database."""
    async with create_client(f"{engines.redis_url}?db=9") as opened:
        await flush(opened)
        yield opened


@pytest.fixture
def store(client: Redis) -> RedisSessionStore:
    """A store in the empty database."""
    return RedisSessionStore(client)


@pytest.fixture
async def own_client(own: Embedded) -> AsyncIterator[Redis]:
    """A client of the test's own server."""
    async with create_client(own.redis_url) as client:
        yield client
