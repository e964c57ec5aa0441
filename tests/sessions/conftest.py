"""The three session stores on real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import pytest
from redis.asyncio import Redis

from convostore.contracts import SessionStore
from convostore.embedded import Embedded
from convostore.postgres import PostgresSessionStore, create_pool
from convostore.redis import RedisSessionStore, create_client
from convostore.testing.faults import proxy_to
from convostore.tiered import TieredSessionStore
from tests.cluster.nodes import Node, eventually, free_ports
from tests.sessions.processes import LEASE, Clock, Process, Record, Start

DATABASE = 6
"""Of the shared Valkey; tests flush it or use keys of their own."""

Worker: TypeAlias = Callable[[], Awaitable[SessionStore]]


@asynccontextmanager
async def store_on(
    kind: str,
    client: Redis,
    pool: asyncpg.Pool[Any],
    *,
    max_age: timedelta | None = None,
    timeout: float = 60.0,
    **options: Any,
) -> AsyncIterator[SessionStore]:
    """Open a store of one of the three kinds, with a deadline that holds on a busy machine."""
    persistent = PostgresSessionStore(pool, max_age=max_age, timeout=timeout)
    if kind == "postgres":
        yield persistent
        return
    store = (
        RedisSessionStore(client, max_age=max_age, timeout=timeout, **options)
        if kind == "redis"
        else TieredSessionStore(client, persistent, timeout=timeout, **options)
    )
    yield store
    await store.aclose()


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
            return await stack.enter_async_context(store_on(kind, client, pool))

        yield opened


@pytest.fixture
async def nodes(area: Path) -> AsyncIterator[list[Node]]:
    """Two Valkey servers of the test's own, with an append-only file; the second is not started."""
    nodes = [
        Node(area / str(port), ("--appendonly", "yes", "--repl-diskless-sync-delay", "0"), port)
        for port in free_ports(2)
    ]
    try:
        nodes[0].start()
        await eventually(nodes[0].answers, "the server answers")
        yield nodes
    finally:
        for node in nodes:
            node.kill()


@pytest.fixture
def hot(nodes: list[Node]) -> Node:
    """The hot tier."""
    return nodes[0]


@pytest.fixture
async def start(engines: Embedded, hot: Node) -> AsyncIterator[Start]:
    """Starts processes that share nothing but the servers, each with its own proxy to the hot tier."""
    async with AsyncExitStack() as stack:

        async def started(**given: Any) -> Process:
            proxy = await stack.enter_async_context(proxy_to(hot.port))
            pool = await stack.enter_async_context(await create_pool(engines.postgres_dsn))
            client = await stack.enter_async_context(create_client(f"redis://127.0.0.1:{proxy.port}"))
            clock, record = Clock(), Record(pool, timeout=100.0)
            options: dict[str, Any] = {"hot_lease": LEASE, "hot_timeout": 10.0, "timeout": 100.0, "monotonic": clock}
            process = Process(TieredSessionStore(client, record, **options | given), record, clock, proxy)
            stack.push_async_callback(process.store.aclose)
            return process

        yield started


@pytest.fixture
async def process(start: Start) -> Process:
    """One process."""
    return await start()
