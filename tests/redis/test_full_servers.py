"""On a server whose memory is full, whatever reads or frees memory works, and nothing else is applied."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from convostore.errors import ConnectionError, StoreError
from convostore.models import Session, SessionStatus
from convostore.models.fields import now
from convostore.redis import RedisSessionStore, keys
from convostore.testing.factories import full_session, make_session, make_visit
from tests.redis.checking import check

OWNER = uuid4()


@asynccontextmanager
async def full(client: Redis) -> AsyncIterator[None]:
    """Leave the server no memory during the block."""
    await client.config_set("maxmemory", "1")
    yield
    await client.config_set("maxmemory", "0")


async def stored(store: RedisSessionStore, **fields: Any) -> Session:
    """Return a stored session that is in every index, and locked by the owner."""
    session = full_session(uuid4()).model_copy(
        update={"status": SessionStatus.ACTIVE, "step_history": [make_visit(step_content_hash="here")], **fields}
    )
    await store.save(session)
    await store.acquire_lock(session.session_id, OWNER)
    return session


async def test_sessions_are_read_and_listed(own_client: Redis) -> None:
    store = RedisSessionStore(own_client)
    session = await stored(store)
    tenant, scenario, customer = session.tenant_id, session.active_scenario_id, session.customer_profile_id
    assert scenario is not None
    assert customer is not None
    async with full(own_client):
        assert await store.get(session.session_id) == session
        assert await store.get_by_channel(tenant, session.channel, session.user_channel_id) == session
        identity = session.channel, session.user_channel_id
        assert await store.get_or_create(tenant, session.agent_id, *identity) == (session, False)
        assert await store.list_by_agent(tenant, session.agent_id) == [session]
        assert await store.list_by_customer(tenant, customer) == [session]
        version = session.active_scenario_version or 0
        assert await store.find_sessions_by_step_hash(tenant, scenario, version, "here") == [session]
        assert await store.health_check()


async def test_a_long_list_is_read_from_buckets_that_hold_more_than_their_share(own_client: Redis) -> None:
    store, tenant, agent = RedisSessionStore(own_client), uuid4(), uuid4()
    same = [each for each in (uuid4() for _ in range(4_000)) if keys.bucket(each) == keys.BUCKETS[0]][:20]
    sessions = [make_session(tenant, agent_id=agent, session_id=each) for each in same]
    for session in sessions:
        await store.save(session)
    async with full(own_client):
        assert await store.list_by_agent(tenant, agent, limit=15, offset=2) == sessions[::-1][2:17]


async def test_sessions_are_deleted_demoted_swept_and_unlocked(own_client: Redis) -> None:
    ahead = timedelta()
    store = RedisSessionStore(own_client, clock=lambda: now() + ahead)
    deleted, demoted, *idle = [await stored(store) for _ in range(7)]
    async with full(own_client):
        assert await store.release_lock(demoted.session_id, OWNER)
        assert await store.delete(deleted.session_id)
        assert await store.demote_to_persistent(demoted.session_id)
        ahead = timedelta(hours=1)
        assert await store.sweep() == (len(idle), 0)
        assert await store.get(demoted.session_id) == demoted
        await store.aclose()
        assert await check(own_client) == 1 + len(idle)
        ahead = timedelta(days=8)
        assert await store.sweep() == (0, 1 + len(idle))
        assert await check(own_client) == 0


async def test_whatever_takes_memory_is_refused_and_not_applied(own_client: Redis) -> None:
    store = RedisSessionStore(own_client)
    session, demoted, new = await stored(store), await stored(store), make_session(uuid4())
    await store.demote_to_persistent(demoted.session_id)
    closed = session.model_copy(update={"status": SessionStatus.CLOSED})
    moved = session.model_copy(update={"user_channel_id": "another"})
    async with full(own_client):
        for refused in (
            lambda: store.save(new),
            lambda: store.save(closed),
            lambda: store.save(moved),
            lambda: store.save(closed, overwrite=True),
            lambda: store.get_or_create(session.tenant_id, uuid4(), session.channel, session.user_channel_id),
            lambda: store.acquire_lock(session.session_id, OWNER),
            lambda: store.acquire_lock(session.session_id, uuid4()),
            lambda: store.promote_to_hot(demoted.session_id),
        ):
            with pytest.raises(ConnectionError) as error:
                await refused()
            assert (error.value.code, error.value.outcome, error.value.retryable) == ("OOM", "not_applied", True)
        # Reading promotes in the background, which changes nothing here.
        assert await store.get(demoted.session_id) == demoted
        await store.aclose()
        with pytest.raises(StoreError):
            async with store.lock(demoted.session_id):
                pass
    assert await check(own_client) == 2
    assert await store.get(session.session_id) == session
    await store.save(closed)
    assert await check(own_client) == 2
