"""A sweeper demotes idle sessions to the persistent tier, where they are smaller and unchanged."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from convostore.models import Session
from convostore.models.fields import now
from convostore.operations.sweeping import sweep_for_ever
from convostore.redis import RedisSessionStore, keys
from convostore.testing.factories import full_session
from tests.redis.checking import check

HOT_TTL = timedelta(hours=1)


async def in_tier(client: Redis, tier: str) -> int:
    """Return how many sessions a tier has."""
    pipeline: Any = client.pipeline(transaction=False)
    for bucket in keys.BUCKETS:
        pipeline.zcard(f"{bucket}{tier}")
    return int(sum(await pipeline.execute()))


async def memory_of(client: Redis, sessions: Iterable[Session]) -> int:
    """Return how many bytes the values of sessions take in the server's memory."""
    pipeline: Any = client.pipeline(transaction=False)
    for session in sessions:
        pipeline.memory_usage(keys.value_key(session.session_id), samples=0)
    return int(sum(await pipeline.execute()))


@pytest.mark.slow
async def test_a_sweeper_demotes_idle_sessions_which_are_smaller_and_read_back_unchanged(client: Redis) -> None:
    ahead = timedelta()
    store = RedisSessionStore(client, hot_ttl=HOT_TTL, clock=lambda: now() + ahead, timeout=60)
    sessions = [full_session(uuid4()) for _ in range(300)]
    sweeping = asyncio.create_task(sweep_for_ever(store, 0.01))
    await asyncio.gather(*map(store.save, sessions))
    assert await in_tier(client, "hot") == len(sessions), "the sweeper leaves alone what was just saved"
    hot = await memory_of(client, sessions)
    ahead = 2 * HOT_TTL
    async with asyncio.timeout(60):
        while await in_tier(client, "hot"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    sweeping.cancel()
    assert await check(client) == await in_tier(client, "cold") == len(sessions)
    assert await memory_of(client, sessions) < 0.7 * hot
    assert await asyncio.gather(*(store.get(session.session_id) for session in sessions)) == sessions
    await store.aclose()
    assert await in_tier(client, "hot") > 0, "reading promotes"
    assert await check(client) == len(sessions)


async def test_a_sweep_knows_sessions_of_two_tenants_under_one_id_apart(client: Redis) -> None:
    moment = now()
    store = RedisSessionStore(client, hot_ttl=HOT_TTL, clock=lambda: moment, sessions_by_tenant=True)
    idle = full_session(uuid4())
    active = full_session(uuid4()).model_copy(update={"session_id": idle.session_id})
    await store.save(idle)
    moment += 2 * HOT_TTL
    await store.save(active)
    assert await store.sweep() == (1, 0)
    assert (await in_tier(client, "cold"), await in_tier(client, "hot")) == (1, 1)
    moment += timedelta(days=7)
    await store.save(active)
    assert await store.sweep() == (0, 1)
    assert await store.get(idle.session_id, tenant_id=idle.tenant_id) is None
    assert await store.get(active.session_id, tenant_id=active.tenant_id) == active
