"""Fields that a newer release has written into sessions are skipped at every depth, in both tiers."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from redis.asyncio import Redis

from convostore.models import Session
from convostore.redis import RedisSessionStore, keys
from convostore.testing.factories import full_session
from tests.unit.newer import NEWS, models_in, with_news


async def save_as_newer(client: Redis, store: RedisSessionStore) -> Session:
    """Save a session, and add what a newer release would."""
    session = full_session(uuid4())
    await store.save(session)
    key = keys.value_key(session.session_id)
    value = await client.get(key)
    assert isinstance(value, bytes)
    header, _, payload = value.partition(b"\np")
    newer = with_news(payload, session)
    assert newer.count(NEWS) == sum(1 for _ in models_in(session)) > 2
    await client.set(key, b"\np".join((header, newer.encode())))
    return session


async def test_sessions_are_read_and_listed(client: Redis, store: RedisSessionStore) -> None:
    session = await save_as_newer(client, store)
    assert await store.get(session.session_id) == session
    assert await store.list_by_agent(session.tenant_id, session.agent_id) == [session]
    assert await store.get_by_channel(session.tenant_id, session.channel, session.user_channel_id) == session


async def test_sessions_are_demoted_swept_and_promoted_as_they_are(client: Redis) -> None:
    store = RedisSessionStore(client, hot_ttl=timedelta(microseconds=1))
    session = await save_as_newer(client, store)
    assert (await store.sweep()).demoted == 1
    assert await store.list_by_agent(session.tenant_id, session.agent_id) == [session]
    assert await store.promote_to_hot(session.session_id) is True
    value = await client.get(keys.value_key(session.session_id))
    assert isinstance(value, bytes)
    assert NEWS.encode() in value
    assert await store.get(session.session_id) == session
    await store.aclose()


async def test_a_save_stores_what_this_release_knows(client: Redis, store: RedisSessionStore) -> None:
    session = await save_as_newer(client, store)
    found = await store.get(session.session_id)
    assert found is not None
    await store.save(found)
    assert await store.get(session.session_id) == found
