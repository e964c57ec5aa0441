"""Sweeps demote idle sessions, delete old ones, and change nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore import open_stores
from convostore.contracts import SessionStore
from convostore.contracts.session import Swept
from convostore.embedded import Embedded
from convostore.errors import StoreError
from convostore.inmemory import InMemorySessionStore
from convostore.models.fields import now
from convostore.operations.sweeping import sweep_for_ever, sweep_once
from convostore.postgres import PostgresSessionStore, create_pool
from convostore.redis import RedisSessionStore, create_client
from convostore.testing.factories import full_session, make_session
from tests.redis.administration import flush

HOUR = timedelta(hours=1)

Make = Callable[..., SessionStore]


class Clock:
    """A clock that tests advance."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return now() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "redis", "postgres"])
async def store(request: pytest.FixtureRequest, clock: Clock, engines: Embedded) -> AsyncIterator[SessionStore]:
    """A store whose sessions are idle after an hour and old after ten."""
    given: dict[str, Any] = {"max_age": 10 * HOUR, "clock": clock}
    if request.param == "memory":
        yield InMemorySessionStore(hot_ttl=HOUR, **given)
    elif request.param == "redis":
        async with create_client(f"{engines.redis_url}?db=8") as client:
            await flush(client)
            yield RedisSessionStore(client, hot_ttl=HOUR, **given)
    else:
        async with await create_pool(engines.postgres_dsn) as pool:
            # Of other tests there are sessions as well.
            everything = PostgresSessionStore(pool, max_age=HOUR, clock=lambda: now() + timedelta(days=3_650))
            await sweep_once(everything)
            yield PostgresSessionStore(pool, **given)
            await sweep_once(everything)


async def until_demoted(store: SessionStore, session_id: UUID) -> None:
    async with asyncio.timeout(10):
        while not await store.promote_to_hot(session_id):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def two_tiers(store: SessionStore) -> bool:
    return not isinstance(store, PostgresSessionStore)


async def test_idle_sessions_are_demoted_and_unchanged(store: SessionStore, clock: Clock) -> None:
    tenant, agent = uuid4(), uuid4()
    idle = [full_session(tenant).model_copy(update={"agent_id": agent}) for _ in range(5)]
    for session in idle:
        await store.save(session)
    clock.ahead = 2 * HOUR
    busy = make_session(tenant, agent_id=agent)
    await store.save(busy)
    assert await sweep_once(store) == (5 if two_tiers(store) else 0, 0)
    assert await sweep_once(store) == (0, 0)
    assert await store.promote_to_hot(busy.session_id) is False
    assert await store.promote_to_hot(idle[0].session_id) is two_tiers(store)
    assert [await store.get(session.session_id) for session in idle] == idle
    assert await store.list_by_agent(tenant, agent) == [busy, *reversed(idle)]


async def test_old_sessions_are_deleted_from_both_tiers_and_every_list(store: SessionStore, clock: Clock) -> None:
    tenants = [uuid4(), uuid4(), uuid4()]
    old = [full_session(tenant) for tenant in tenants]
    for session in old:
        await store.save(session)
    await store.demote_to_persistent(old[0].session_id)
    clock.ahead = 9 * HOUR
    kept = make_session(tenants[0], agent_id=old[0].agent_id)
    await store.save(kept)
    clock.ahead = 11 * HOUR
    assert (await sweep_once(store)).deleted == 3
    for session in old:
        assert await store.get(session.session_id) is None
        assert await store.get_by_channel(session.tenant_id, session.channel, session.user_channel_id) is None
        assert session.customer_profile_id is not None
        assert await store.list_by_customer(session.tenant_id, session.customer_profile_id) == []
    assert await store.list_by_agent(tenants[0], old[0].agent_id) == [kept]


async def test_a_sweep_is_bounded_and_the_next_one_continues(store: SessionStore, clock: Clock) -> None:
    sessions = [make_session(uuid4()) for _ in range(30)]
    await asyncio.gather(*map(store.save, sessions))
    clock.ahead = 11 * HOUR
    deleted = []
    while any(swept := await store.sweep(limit=7)):
        assert sum(swept) <= 7
        deleted.append(swept.deleted)
    assert sum(deleted) == 30


async def test_concurrent_sweeps_move_each_session_once(store: SessionStore, clock: Clock) -> None:
    sessions = [make_session(uuid4()) for _ in range(60)]
    await asyncio.gather(*map(store.save, sessions))
    clock.ahead = 2 * HOUR
    swept = await asyncio.gather(*(sweep_once(store) for _ in range(4)))
    assert sum(each.demoted for each in swept) == (60 if two_tiers(store) else 0)
    clock.ahead = 11 * HOUR
    swept = await asyncio.gather(*(sweep_once(store) for _ in range(4)))
    assert sum(each.deleted for each in swept) == 60


async def test_a_session_in_use_is_neither_demoted_nor_deleted_under_its_writer(
    store: SessionStore, clock: Clock
) -> None:
    session = make_session(uuid4())
    await store.save(session)
    clock.ahead = 11 * HOUR

    async def write() -> None:
        for _ in range(20):
            session.turn_count += 1
            await store.save(session, overwrite=True)

    await asyncio.gather(write(), *(sweep_once(store) for _ in range(10)))
    assert await store.get(session.session_id) == session


class Failing(InMemorySessionStore):
    """A store whose first sweep fails."""

    swept = 0

    async def sweep(self, *, limit: int = 1_000) -> Swept:
        self.swept += 1
        if self.swept == 1:
            raise StoreError("failed")
        return await super().sweep(limit=limit)


async def test_a_sweeper_outlives_failures(clock: Clock) -> None:
    store, session = Failing(hot_ttl=HOUR, clock=clock), make_session(uuid4())
    await store.save(session)
    clock.ahead = 2 * HOUR
    sweeping = asyncio.create_task(sweep_for_ever(store, 0.001))
    try:
        await until_demoted(store, session.session_id)
    finally:
        sweeping.cancel()


async def test_open_stores_starts_a_sweeper(engines: Embedded) -> None:
    given: dict[str, Any] = {"postgres_url": engines.postgres_dsn, "redis_url": f"{engines.redis_url}?db=8"}
    async with open_stores(**given, hot_ttl=0.001, sweep_every=0.01) as stores:
        session = make_session(uuid4())
        await stores.sessions.save(session)
        await until_demoted(stores.sessions, session.session_id)
