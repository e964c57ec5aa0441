"""What the checks of `convostore doctor` share: what is checked, and the connections to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from convostore.errors import ValidationError
from convostore.postgres import create_pool
from convostore.postgres.driver import Pooler
from convostore.postgres.pool import connect
from convostore.redis import create_client
from convostore.redis.routing import Servers
from convostore.redis.servers import servers_of


class DoubtfulError(ValidationError):
    """Something works and is not as it should be."""


@dataclass(frozen=True)
class Target:
    """What is checked."""

    postgres_url: str
    redis_url: str
    pool_size: int
    pooler: Pooler | None = None
    max_age: float = 0.0


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        subject: what it is about.
        needs: the subjects without which it would only repeat their failure.
        look: returns what it found; raises `DoubtfulError`, or another error if that does not suffice.
    """

    subject: str
    needs: tuple[str, ...]
    look: Callable[[Target], Awaitable[str]]


@asynccontextmanager
async def connected(target: Target) -> AsyncIterator[Any]:
    connection = await connect(target.postgres_url)
    try:
        yield connection
    finally:
        connection.terminate()


async def pool_of(target: Target) -> Any:
    return await create_pool(target.postgres_url, max_size=1, pooler=target.pooler)


@asynccontextmanager
async def servers_at(target: Target) -> AsyncIterator[Servers]:
    async with create_client(target.redis_url, max_connections=1) as client:
        yield servers_of(client)
