"""Both servers behind proxies that count, and a store on them for each section of the table."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import asyncpg
import pytest
from redis.asyncio import Redis

from convostore.embedded import Embedded
from convostore.postgres import create_pool
from convostore.redis import create_client
from tests.processes import private_directory
from tests.redis.administration import flush
from tests.redis.monitoring import monitoring
from tests.round_trips.counting import Traffic, counting
from tests.round_trips.metering import Meter

DATABASE = 5
"""The database of the shared Valkey that these tests empty and use."""


@dataclass(frozen=True)
class Counted:
    """A client and pools of one connection each, through the proxies.

    Attributes:
        client: of an empty database.
        pool: runs as the application role.
        maintenance: runs as the maintenance role.
        dsn: leads to PostgreSQL through the proxy.
        postgres: what passes to PostgreSQL.
        redis: what passes to Valkey.
        meter: measures calls.
    """

    client: Redis
    pool: asyncpg.Pool[Any]
    maintenance: asyncpg.Pool[Any]
    dsn: str
    postgres: Traffic
    redis: Traffic
    meter: Meter

    async def round_trips(self, call: Callable[[], Awaitable[object]]) -> tuple[int, int]:
        """Make a call and return its round trips to PostgreSQL and to Valkey."""
        for traffic in (self.postgres, self.redis):
            traffic.read()
        await call()
        return self.postgres.read()[0], self.redis.read()[0]


@pytest.fixture
async def counted(engines: Embedded) -> AsyncIterator[Counted]:
    """Both servers, with what they are sent counted."""
    found = re.search(r"host=([^&]+)", engines.postgres_dsn)
    assert found is not None
    postgres, valkey = Path(unquote(found[1]), ".s.PGSQL.5432"), engines.redis_url.removeprefix("unix://")
    with private_directory() as folder:
        dsn = engines.postgres_dsn.replace(found[1], quote(str(folder), safe=""))
        async with (
            counting(folder / postgres.name, postgres, postgres=True) as to_postgres,
            counting(folder / "valkey", Path(valkey)) as to_redis,
            create_client(f"unix://{folder / 'valkey'}?db={DATABASE}", max_connections=1) as client,
            create_client(f"{engines.redis_url}?db={DATABASE}") as observer,
            await create_pool(dsn, max_size=1) as pool,
            await create_pool(dsn, max_size=1, role="convostore_maintenance") as maintenance,
            monitoring(observer, valkey, DATABASE) as monitor,
        ):
            await flush(observer)
            meter = Meter(to_postgres, to_redis, monitor)
            yield Counted(client, pool, maintenance, dsn, to_postgres, to_redis, meter)
