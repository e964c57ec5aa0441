"""Workers that save sessions during failovers and resharding, and checks of what was acknowledged."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID, uuid4

from convostore.contracts import SessionStore
from convostore.embedded import Embedded
from convostore.errors import ConflictError, ConnectionError
from convostore.models import Session
from convostore.postgres import PostgresSessionStore, create_pool
from convostore.redis import RedisSessionStore, create_client
from convostore.testing.factories import make_session
from convostore.tiered import TieredSessionStore
from tests.sessions.linearizability import linearizable, regular
from tests.sessions.test_histories import LEASE, Histories, check_bound, final, histories_of, some_sessions

WORKERS = 6


class Stores(NamedTuple):
    """Both stores on the same servers."""

    redis: RedisSessionStore
    tiered: TieredSessionStore


@asynccontextmanager
async def opened(url: str, engines: Embedded) -> AsyncIterator[Stores]:
    """Open both stores on a cluster or on a service."""
    async with await create_pool(engines.postgres_dsn) as pool, create_client(url) as client:
        stores = Stores(RedisSessionStore(client), TieredSessionStore(client, PostgresSessionStore(pool)))
        yield stores
        for store in stores:
            await store.aclose()


@dataclass
class Work:
    """What workers saved: the last acknowledged revision of each session, and the calls that failed."""

    stores: Stores
    tenant: UUID = field(default_factory=uuid4)
    agents: list[UUID] = field(default_factory=lambda: [uuid4() for _ in range(3)])
    acknowledged: dict[UUID, tuple[SessionStore, Session]] = field(default_factory=dict)
    saves: Counter[SessionStore] = field(default_factory=Counter)
    failures: list[ConnectionError] = field(default_factory=list)
    progress: asyncio.Event = field(default_factory=asyncio.Event)

    async def go_on(self, store: SessionStore) -> None:
        """Read and save one session repeatedly."""
        session_id = uuid4()
        while True:
            try:
                session = await store.get(session_id) or make_session(self.tenant, session_id=session_id)
                session.turn_count += 1
                session.agent_id = random.choice(self.agents)
                await store.save(session)
            except ConflictError:
                continue
            except ConnectionError as failure:
                self.failures.append(failure)
                continue
            self.saves[store] += 1
            self.acknowledged[session_id] = store, session
            self.progress.set()

    async def more(self, saves: int) -> None:
        """Wait until each store has acknowledged so many more saves."""
        wanted = {store: self.saves[store] + saves for store in self.stores}
        async with asyncio.timeout(30):
            while any(self.saves[store] < number for store, number in wanted.items()):
                self.progress.clear()
                await self.progress.wait()

    async def lost(self, *stores: SessionStore) -> list[UUID]:
        """Return the sessions that are missing or older than their last acknowledged revision."""
        lost = []
        for session_id, (store, last) in self.acknowledged.items():
            if store in stores:
                found = await store.get(session_id)
                if found is None or found.revision < last.revision:
                    lost.append(session_id)
        return lost


@asynccontextmanager
async def working(stores: Stores) -> AsyncIterator[Work]:
    """Run workers on both stores during the block."""
    work = Work(stores)
    tasks = [asyncio.create_task(work.go_on(store)) for store in stores for _ in range(WORKERS)]
    try:
        await work.more(WORKERS)
        yield work
        await work.more(WORKERS)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(how, asyncio.CancelledError) for how in ended), ended
    assert all(failure.retryable for failure in work.failures)


@asynccontextmanager
async def histories_checked(url: str, engines: Embedded) -> AsyncIterator[None]:
    """Run several tiered stores on the same sessions during the block, and check every history.

    If no call of the hot tier failed, each session must be a regular register: the servers lose guards. Otherwise the
    writes must be linearizable, and reads may be stale for at most a lease.
    """
    async with AsyncExitStack() as stack:
        stores = []
        for _ in range(3):
            pool = await stack.enter_async_context(await create_pool(engines.postgres_dsn, max_size=2))
            client = await stack.enter_async_context(create_client(url, max_connections=2))
            stores.append(TieredSessionStore(client, PostgresSessionStore(pool), hot_lease=LEASE))
            stack.push_async_callback(stores[-1].aclose)
        over = asyncio.Event()
        histories: Histories = {}

        async def go_on() -> None:
            while not over.is_set():
                histories.update(await histories_of(stores, some_sessions()))

        going = asyncio.create_task(go_on())
        try:
            yield
        finally:
            over.set()
            await going
        reachable = all(store.hot_failures == 0 for store in stores)
        for session_id, history in histories.items():
            if reachable:
                assert regular(history)
            check_bound(history)
            writes = [operation for operation in history if operation.kind != "get"]
            loaded = await stores[0]._record.load(session_id)
            assert linearizable([*writes, final(loaded and loaded[0])])
