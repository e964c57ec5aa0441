"""Engines for the measurements, with connections for the stores and as many bare ones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import UUID, uuid5

import asyncpg
import redis.asyncio as aio
from pydantic_core import from_json, to_json

from convostore import postgres
from convostore.embedded import open_embedded
from convostore.postgres.pool import decode_vector, encode_vector
from convostore.redis import create_client

CONNECTIONS = 10
SPREAD = (1, 64)
"""The numbers of tenants over which calls are spread."""

TENANTS = [uuid5(UUID(int=0), f"tenant {number}") for number in range(max(SPREAD))]


@dataclass(frozen=True)
class Engines:
    """A pool and a client for the stores, bare ones for the driver's side, and the servers' processes and sockets."""

    pool: asyncpg.Pool[Any]
    client: aio.Redis
    bare_pool: asyncpg.Pool[Any]
    bare_client: aio.Redis
    pids: tuple[int, ...]
    postgres: Path
    valkey: Path


@asynccontextmanager
async def open_engines() -> AsyncIterator[Engines]:
    """Start PostgreSQL and Valkey, empty and migrated."""
    async with AsyncExitStack() as opened:
        servers = await opened.enter_async_context(open_embedded(ephemeral=True))
        await postgres.migrate(servers.postgres_dsn)
        pool = await postgres.create_pool(servers.postgres_dsn, max_size=CONNECTIONS)
        client = create_client(servers.redis_url, max_connections=CONNECTIONS)
        waiting = aio.BlockingConnectionPool.from_url(servers.redis_url, max_connections=CONNECTIONS, timeout=None)
        valkey = Path(unquote(servers.redis_url.removeprefix("unix://")))
        yield Engines(
            pool=await opened.enter_async_context(pool),
            client=await opened.enter_async_context(client),
            bare_pool=await opened.enter_async_context(_bare_pool(servers.postgres_dsn)),
            bare_client=await opened.enter_async_context(aio.Redis.from_pool(waiting)),
            pids=tuple(filter(None, (servers.postgres_pid, servers.valkey_pid))),
            postgres=valkey.parent / ".s.PGSQL.5432",
            valkey=valkey,
        )


class _Connection(asyncpg.Connection):
    """Without the reset at release, as in the stores' pool: it would cost a round trip per call."""

    def get_reset_query(self) -> str:
        return ""


def _bare_pool(dsn: str) -> asyncpg.Pool[Any]:
    # A superuser bypasses row-level security: the driver's side pays for no policy.
    return asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=CONNECTIONS,
        connection_class=_Connection,
        init=_prepare,
        server_settings={"jit": "off", "timezone": "UTC"},
    )


async def _prepare(connection: Any) -> None:
    await connection.set_type_codec("vector", encoder=encode_vector, decoder=decode_vector, format="binary")
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: b"\x01" + to_json(value),
        decoder=lambda value: from_json(value[1:]),
        format="binary",
    )
