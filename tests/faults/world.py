"""Both servers behind proxies, with a database of the tests' own on each, so that everything stored can be compared."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote

import asyncpg
from redis.asyncio import Redis

from convostore.call.store import Store
from convostore.embedded import Embedded
from convostore.postgres import (
    PostgresAuditStore,
    PostgresConfigStore,
    PostgresMemoryStore,
    PostgresProfileStore,
    PostgresSessionStore,
    create_pool,
    migrate,
)
from convostore.redis import RedisSessionStore, create_client
from convostore.redis.keys import BUCKETS
from convostore.testing.faults import Proxy, proxy_to
from convostore.tiered import TieredSessionStore
from tests.postgres.databases import connected, fresh_database
from tests.redis.administration import all_keys, flush

Pool: TypeAlias = "asyncpg.Pool[Any]"
State: TypeAlias = "tuple[str, dict[bytes, bytes | None]]"

DATABASE = 4
"""Of the shared Valkey; these tests empty it."""

USER = "faults"
"""Logs in as a member of the roles, without being a superuser, so that limits hold for it."""

NEVER = timedelta(days=3_650)
PATIENCE = 60.0
"""The deadline, in seconds, of calls that are to succeed."""

TABLES = """
SELECT string_agg(format('SELECT %L AS name, md5(string_agg(t::text, '''' ORDER BY t::text)) AS content FROM %s AS t',
    oid::regclass, oid::regclass), ' UNION ALL ')
FROM pg_class WHERE relnamespace = 'convostore'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
"""
BACKENDS = "SELECT pid FROM pg_stat_activity WHERE usename = $1"
BUSY = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND state NOT LIKE 'idle%'"


@dataclass
class World:
    """Stores on pools and a client of one connection each, through proxies, and ways around the proxies.

    Attributes:
        engines: the servers.
        postgres: the proxy to PostgreSQL.
        redis: the proxy to Valkey.
        pools: of the application and of the maintenance role.
        client: of Valkey.
        admin: a superuser's connection that does not pass through the proxy.
        observer: a client that does not pass through the proxy.
        contents: the statement that returns a digest of every table.
    """

    engines: Embedded
    postgres: Proxy
    redis: Proxy
    pools: tuple[Pool, Pool]
    client: Redis
    admin: Any
    observer: Redis
    contents: str

    def stores(self, section: str) -> Sequence[Store]:
        """Return new stores of a section."""
        pool = self.pools[0]
        sessions = PostgresSessionStore(pool, max_age=NEVER, timeout=PATIENCE)
        match section:
            case "sessions on Redis":
                return [RedisSessionStore(self.client, max_age=NEVER, timeout=PATIENCE)]
            case "sessions, tiered":
                return [TieredSessionStore(self.client, sessions, timeout=PATIENCE)]
            case "sessions on PostgreSQL":
                return [sessions]
            case "config":
                return [PostgresConfigStore(pool, timeout=PATIENCE)]
            case "memory":
                return [PostgresMemoryStore(pool, timeout=PATIENCE)]
            case "audit":
                return [PostgresAuditStore(each, timeout=PATIENCE) for each in self.pools]
            case _:
                return [PostgresProfileStore(pool, timeout=PATIENCE)]

    async def state(self) -> State:
        """Return a digest of everything stored.

        Without what expires by itself, such as claims, guards and hot copies, and without channel pointers, which are
        written before the session and verified when they are read.
        """
        rows = await self.admin.fetch(self.contents)
        in_buckets = [key for key in await all_keys(self.observer) if key.decode().startswith(BUCKETS)]
        keys = [key for key in in_buckets if await self.observer.ttl(key) == -1]
        return str(sorted(map(tuple, rows))), {key: await self.observer.dump(key) for key in sorted(keys)}

    async def settled(self) -> None:
        """Wait until neither server works on anything, and every connection that was given up has ended."""
        async with asyncio.timeout(PATIENCE):
            while await self.admin.fetchval(BUSY, USER):
                pass

    def in_use(self) -> int:
        """Return how many connections are not back in their pools."""
        pool: Any = self.client.connection_pool
        return len(pool._in_use_connections) + sum(each.get_size() - each.get_idle_size() for each in self.pools)


@asynccontextmanager
async def opened(engines: Embedded) -> AsyncIterator[World]:
    """The world, for the duration of a block."""
    found = re.search(r"host=([^&]+)", engines.postgres_dsn)
    assert found is not None
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(fresh_database(engines.postgres_dsn))
        await migrate(dsn)
        admin = await stack.enter_async_context(connected(dsn))
        await admin.execute(f"CREATE ROLE {USER} LOGIN IN ROLE convostore_app, convostore_maintenance")
        stack.push_async_callback(admin.execute, f"DROP ROLE {USER}")
        postgres = await stack.enter_async_context(proxy_to(Path(unquote(found[1]), ".s.PGSQL.5432")))
        redis = await stack.enter_async_context(proxy_to(Path(engines.redis_url.removeprefix("unix://"))))
        disturbed = re.sub(r"//.*?@.*?/(\w+)\?.*", rf"//{USER}@127.0.0.1:{postgres.port}/\1", dsn)
        pools = [
            await stack.enter_async_context(await create_pool(disturbed, max_size=1, role=role))
            for role in ("convostore_app", "convostore_maintenance")
        ]
        client = await stack.enter_async_context(
            create_client(f"redis://127.0.0.1:{redis.port}/{DATABASE}", max_connections=1)
        )
        observer = await stack.enter_async_context(create_client(f"{engines.redis_url}?db={DATABASE}"))
        await flush(observer)
        contents = await admin.fetchval(TABLES)
        yield World(engines, postgres, redis, (pools[0], pools[1]), client, admin, observer, contents)
        # Nobody is there any more when the database and the user are dropped.
        postgres.lead_to(None)
        for pool in pools:
            pool.terminate()
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", USER)
