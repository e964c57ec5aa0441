"""Both servers behind proxies, with a database of the tests' own on each, so that everything stored can be compared."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import unquote
from uuid import uuid4

import asyncpg
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster

from convostore.call.store import Store
from convostore.contracts import SessionStore
from convostore.embedded import Embedded
from convostore.postgres import (
    PostgresAuditStore,
    PostgresConfigStore,
    PostgresMemoryStore,
    PostgresProfileStore,
    PostgresSessionStore,
    PostgresTurnStore,
    create_pool,
    migrate,
)
from convostore.redis import RedisSessionStore, create_client
from convostore.redis.driver import Client
from convostore.redis.keys import BUCKETS
from convostore.redis.multiplexing import SharedConnection
from convostore.redis.routing import SHARED
from convostore.testing.faults import Proxy, proxy_to
from convostore.tiered import TieredSessionStore
from tests.cluster.nodes import Cluster, Node
from tests.faults.proxies import Proxies
from tests.postgres.databases import fresh_database
from tests.processes import until
from tests.redis.administration import all_keys, flush

Pool: TypeAlias = "asyncpg.Pool[Any]"
Side: TypeAlias = Literal["postgres", "redis"]
State: TypeAlias = "tuple[str, dict[bytes, bytes | None]]"

DATABASE = 4
"""Of the shared Valkey; these tests empty it."""

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
    """Stores on pools of one connection and a client of two, one of them shared, through proxies, and ways around them.

    Attributes:
        engine: PostgreSQL.
        valkey: Valkey, embedded or a process of the tests' own, or a cluster of it.
        postgres: the proxy to PostgreSQL.
        redis: the proxy to Valkey.
        pools: of the application and of the maintenance role.
        client: of Valkey.
        user: logs in as a member of the roles, without being a superuser, so that limits hold for it.
        dsn: of the database, for a superuser, that does not lead through the proxy.
        admin: a superuser's pool that does not pass through the proxy.
        observers: a client of each server that holds keys, that do not pass through the proxy.
        contents: the statement that returns a digest of every table.
        own_tasks: those of faults.
    """

    engine: Embedded
    valkey: Embedded | Node | Cluster
    postgres: Proxy
    redis: Proxy | Proxies
    pools: tuple[Pool, Pool]
    client: Client
    user: str
    dsn: str
    admin: Pool
    observers: list[Redis]
    contents: str
    own_tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def proxy(self, side: Side) -> Any:
        """Return the proxy to a server."""
        return self.postgres if side == "postgres" else self.redis

    def pid(self, side: Side) -> int:
        """Return the process of an embedded server."""
        engine = self.engine if side == "postgres" else self.valkey
        assert isinstance(engine, Embedded)
        pid = engine.postgres_pid if side == "postgres" else engine.valkey_pid
        assert pid is not None
        return pid

    async def disconnect(self, side: Side) -> None:
        """Reset the connections to a server, and return when their clients have noticed."""
        self.proxy(side).reset()
        await until(lambda: not self._connected(side), "every connection is reset")

    def _connected(self, side: Side) -> bool:
        if side == "postgres":
            return any(pool.get_size() for pool in self.pools)
        readers = [connection._reader for connection in self._connections()]
        return any(reader and not reader.at_eof() and reader.exception() is None for reader in readers)

    def _connections(self, *, in_use: bool = False) -> list[Any]:
        """Return the connections of the client, all or those in use."""
        client: Any = self.client
        if isinstance(client, RedisCluster):
            nodes: list[Any] = list(client.nodes_manager.nodes_cache.values())
            return [each for node in nodes for each in node._connections if not in_use or each not in node._free]
        pool = client.connection_pool
        return [*pool._in_use_connections, *([] if in_use else pool._available_connections)]

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
            case "turns on PostgreSQL":
                return [self._turns(sessions)]
            case "turns, tiered":
                return [self._turns(TieredSessionStore(self.client, sessions, timeout=PATIENCE))]
            case "config":
                return [PostgresConfigStore(pool, timeout=PATIENCE)]
            case "memory":
                return [PostgresMemoryStore(pool, timeout=PATIENCE)]
            case "audit":
                return [PostgresAuditStore(each, timeout=PATIENCE) for each in self.pools]
            case _:
                return [PostgresProfileStore(pool, timeout=PATIENCE)]

    def _turns(self, sessions: SessionStore) -> Store:
        pool = self.pools[0]
        others = PostgresConfigStore, PostgresMemoryStore, PostgresAuditStore, PostgresProfileStore
        return PostgresTurnStore(sessions, *(kind(pool) for kind in others))  # type: ignore[arg-type]

    async def state(self) -> State:
        """Return a digest of everything stored.

        Without what expires by itself, such as claims, guards and hot copies, and without channel pointers, which are
        written before the session and verified when they are read.
        """
        rows = await self.admin.fetch(self.contents)
        found: dict[bytes, bytes | None] = {}
        for observer in self.observers:
            in_buckets = [key for key in await all_keys(observer) if key.decode().startswith(BUCKETS)]
            found |= {key: await observer.dump(key) for key in in_buckets if await observer.ttl(key) == -1}
        return str(sorted(map(tuple, rows))), found

    async def settled(self) -> None:
        """Wait until neither server works on anything, and every connection that was given up has ended."""
        async with asyncio.timeout(PATIENCE):
            while await self.admin.fetchval(BUSY, self.user):
                pass

    def in_use(self) -> int:
        """Return how many connections are not back in their pools, and not shared by callers none of whom waits."""
        in_pools = sum(each.get_size() - each.get_idle_size() for each in self.pools)
        return len(self._connections(in_use=True)) + in_pools - len(self._idle)

    @property
    def tasks(self) -> set[asyncio.Task[Any]]:
        """The tasks of the faults, of the proxies and of connections that are shared."""
        shared = SHARED.get(self.client)
        return self.own_tasks | self.postgres.tasks | self.redis.tasks | (shared.tasks if shared else set())

    @property
    def _idle(self) -> list[SharedConnection]:
        shared = SHARED.get(self.client)
        return [each for each in shared.open.values() if each.is_idle] if shared else []


@asynccontextmanager
async def opened(engine: Embedded, valkey: Embedded | Node | Cluster) -> AsyncIterator[World]:
    """The world, for the duration of a block."""
    found = re.search(r"host=([^&]+)", engine.postgres_dsn)
    assert found is not None
    async with AsyncExitStack() as stack:
        user = f"faults_{uuid4().hex}"
        dsn = await stack.enter_async_context(fresh_database(engine.postgres_dsn))
        await migrate(dsn)
        # A pool, which connects again when a server was killed.
        admin = await stack.enter_async_context(asyncpg.create_pool(dsn, min_size=0, max_size=1))
        await admin.execute(f"CREATE ROLE {user} LOGIN IN ROLE convostore_app, convostore_maintenance")
        stack.push_async_callback(admin.execute, f"DROP ROLE {user}")
        postgres = await stack.enter_async_context(proxy_to(Path(unquote(found[1]), ".s.PGSQL.5432")))
        disturbed = re.sub(r"//.*?@.*?/(\w+)\?.*", rf"//{user}@127.0.0.1:{postgres.port}/\1", dsn)
        pools = [
            await stack.enter_async_context(await create_pool(disturbed, max_size=1, role=role))
            for role in ("convostore_app", "convostore_maintenance")
        ]
        opening: Any = _cluster(valkey) if isinstance(valkey, Cluster) else _server(valkey)
        redis, client, observers = await stack.enter_async_context(opening)
        for observer in observers:
            await flush(observer)
        contents = await admin.fetchval(TABLES)
        yield World(
            engine, valkey, postgres, redis, (pools[0], pools[1]), client, user, dsn, admin, observers, contents
        )
        # Nobody is there any more when the database and the user are dropped.
        postgres.lead_to(None)
        for pool in pools:
            pool.terminate()
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", user)


@asynccontextmanager
async def _server(valkey: Embedded | Node) -> AsyncIterator[tuple[Proxy, Client, list[Redis]]]:
    target: int | Path
    if isinstance(valkey, Embedded):
        target, url = Path(valkey.redis_url.removeprefix("unix://")), f"{valkey.redis_url}?db={DATABASE}"
    else:
        target, url = valkey.port, f"redis://127.0.0.1:{valkey.port}/{DATABASE}"
    async with (
        proxy_to(target) as proxy,
        create_client(f"redis://127.0.0.1:{proxy.port}/{DATABASE}", max_connections=2) as client,
        create_client(url) as observer,
    ):
        assert isinstance(observer, Redis)
        yield proxy, client, [observer]


@asynccontextmanager
async def _cluster(cluster: Cluster) -> AsyncIterator[tuple[Proxies, Client, list[Redis]]]:
    async with AsyncExitStack() as stack:
        proxies = {node.port: await stack.enter_async_context(proxy_to(node.port)) for node in cluster.nodes}
        hosts = ",".join(f"127.0.0.1:{proxy.port}" for proxy in proxies.values())
        client: Any = create_client(f"redis+cluster://{hosts}", max_connections=2)
        # The nodes tell their own addresses.
        client.nodes_manager.address_remap = lambda address: (address[0], proxies[address[1]].port)
        await stack.enter_async_context(client)
        primaries = [Redis(port=node.port, protocol=2) for node in await cluster.primaries()]
        yield Proxies(list(proxies.values())), client, [await stack.enter_async_context(each) for each in primaries]
