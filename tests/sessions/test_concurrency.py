"""Concurrent workers: the first save wins, and a thousand calls queue for the connections of a pool."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any
from uuid import uuid4

import pytest

from convostore.embedded import Embedded
from convostore.errors import ConflictError
from convostore.models import Session
from convostore.postgres import create_pool
from convostore.redis import create_client
from convostore.testing.factories import full_session, make_session
from tests.postgres.databases import connected
from tests.sessions.conftest import Worker, store_on

POOL_SIZE = 10
"""The default size of the pools of `create_client` and `create_pool`."""


async def test_of_two_concurrent_saves_one_wins_and_the_other_gets_the_current_revision(worker: Worker) -> None:
    stores = [await worker(), await worker()]
    session = make_session(uuid4())
    await stores[0].save(session)
    for _ in range(50):
        copies = [session.model_copy(update={"turn_count": session.turn_count + 1 + number}) for number in range(2)]
        saves = [store.save(copy) for store, copy in zip(stores, copies, strict=True)]
        answers = await asyncio.gather(*saves, return_exceptions=True)
        (conflict,) = (answer for answer in answers if isinstance(answer, ConflictError))
        winner = 1 - answers.index(conflict)
        assert conflict.current_revision == copies[winner].revision == session.revision + 1
        assert [await store.get(session.session_id) for store in stores] == [copies[winner]] * 2
        session = copies[winner]


class Watch:
    """Polls the numbers of connections and keeps their maxima."""

    def __init__(self, *counts: Callable[[], Awaitable[int]]) -> None:
        self._counts = counts
        self.most = [0] * len(counts)

    async def look(self) -> None:
        """Poll once."""
        self.most = [max(most, await count()) for most, count in zip(self.most, self._counts, strict=True)]

    async def __aenter__(self) -> Watch:
        self._looking = asyncio.create_task(self._look_on())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._looking.cancel()
        with suppress(asyncio.CancelledError):
            await self._looking

    async def _look_on(self) -> None:
        while True:
            await self.look()


@pytest.fixture
async def watch(engines: Embedded, own: Embedded) -> AsyncIterator[Watch]:
    """Watches the connections to the test's own Valkey, and the test's connections to PostgreSQL by their name."""
    async with create_client(own.redis_url, max_connections=1) as client, connected(engines.postgres_dsn) as admin:

        async def to_valkey() -> int:
            return len(await client.client_list(_type="normal")) - 1

        async def to_postgres() -> int:
            query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'load'"
            return int(await admin.fetchval(query))

        yield Watch(to_valkey, to_postgres)


@pytest.mark.slow
async def test_a_thousand_concurrent_calls_succeed_within_the_limits_of_default_pools(
    kind: str, engines: Embedded, own: Embedded, watch: Watch
) -> None:
    async with AsyncExitStack() as stack:
        settings = {"application_name": "load"}
        pool = await stack.enter_async_context(await create_pool(engines.postgres_dsn, settings=settings))
        client = await stack.enter_async_context(create_client(own.redis_url))
        # A thousand concurrent calls are slow on a busy machine; the breaker must not open for that.
        patience: dict[str, Any] = {"hot_timeout": 60.0} if kind == "tiered" else {}
        store = await stack.enter_async_context(store_on(kind, client, pool, **patience))
        tenant, agent, customer = uuid4(), uuid4(), uuid4()
        sessions = [full_session(tenant) for _ in range(100)]
        for session in sessions:
            session.agent_id, session.customer_profile_id = agent, customer
        await asyncio.gather(*map(store.save, sessions))

        def call(session: Session) -> Awaitable[Any]:
            last = session.step_history[-1].step_content_hash or "none"
            calls: list[Callable[[], Awaitable[Any]]] = [
                lambda: store.get(session.session_id),
                lambda: store.save(session.model_copy(deep=True), overwrite=True),
                lambda: store.save(make_session(tenant, agent_id=agent)),
                lambda: store.get_by_channel(tenant, session.channel, session.user_channel_id),
                lambda: store.list_by_agent(tenant, agent, limit=10),
                lambda: store.list_by_customer(tenant, customer, limit=10),
                lambda: store.find_sessions_by_step_hash(tenant, uuid4(), 1, last),
                lambda: store.demote_to_persistent(session.session_id),
                lambda: store.promote_to_hot(session.session_id),
                lambda: store.acquire_lock(session.session_id, uuid4()),
                lambda: store.delete(uuid4()),
                store.sweep,
            ]
            return random.choice(calls)()

        async with watch:
            await asyncio.gather(*(call(random.choice(sessions)) for _ in range(1_000)))
        await watch.look()
        # Concurrent calls of the hot tier share a connection; of a pool, lists and sweeps take the rest.
        to_valkey = {"postgres": 0, "redis": POOL_SIZE, "tiered": 1}[kind]
        assert watch.most == [to_valkey, POOL_SIZE * (kind != "redis")]
        assert all(await asyncio.gather(*(store.get(session.session_id) for session in sessions)))
