"""A full server, lost scripts, corrupt values and keys of a wrong type."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from convostore.errors import ConflictError, ConnectionError, StoreError, ValidationError
from convostore.models import Session, SessionStatus
from convostore.redis import RedisSessionStore, check_eviction, keys
from convostore.testing.factories import full_session, make_session
from tests.redis.checking import check


def each_call(store: RedisSessionStore, session: Session) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Return one call of each script."""
    return {
        "save": lambda: store.save(session),
        "demote": lambda: store.demote_to_persistent(session.session_id),
        "promote": lambda: store.promote_to_hot(session.session_id),
        "refused": lambda: store.save(session.model_copy(update={"revision": 0})),
        "delete": lambda: store.delete(session.session_id),
    }


async def test_scripts_are_loaded_again_after_script_flush(own_client: Redis) -> None:
    store, session = RedisSessionStore(own_client), full_session(uuid4())
    await store.save(session)
    for name, call in each_call(store, session).items():
        await own_client.script_flush()
        if name == "refused":
            with pytest.raises(ConflictError):
                await call()
        else:
            assert await call()
        await check(own_client)
    assert session.revision == 2


@pytest.mark.parametrize("garbage", [b"garbage", b"1|2|3", b"\xff\x00\n\x00", b"1|x|y|z|1|1|c|open\npgarbage"])
async def test_garbage_in_place_of_a_value_is_a_store_error(
    client: Redis, store: RedisSessionStore, garbage: bytes
) -> None:
    session = make_session(uuid4())
    await client.set(keys.value_key(session.session_id), garbage)
    calls: list[Awaitable[object]] = [
        store.get(session.session_id),
        store.promote_to_hot(session.session_id),
        store.demote_to_persistent(session.session_id),
        store.save(session),
    ]
    for call in calls:
        with pytest.raises(StoreError) as refused:
            await call
        assert not isinstance(refused.value, ConnectionError)
        assert "garbage" not in str(refused.value)
    for read in (store.get, store.promote_to_hot, store.demote_to_persistent):
        with pytest.raises(StoreError, match=f"^session {session.session_id}: the stored value cannot be read"):
            await read(session.session_id)
    assert await client.get(keys.value_key(session.session_id)) == garbage


async def test_a_truncated_payload_is_a_store_error(client: Redis, store: RedisSessionStore) -> None:
    session = make_session(uuid4())
    await store.save(session)
    for move in (store.promote_to_hot, store.demote_to_persistent):
        await move(session.session_id)
        key = keys.value_key(session.session_id)
        value = await client.get(key)
        assert isinstance(value, bytes)
        await client.set(key, value[:-10])
        for call in (
            store.get(session.session_id),
            store.list_by_agent(session.tenant_id, session.agent_id),
            store.get_by_channel(session.tenant_id, session.channel, session.user_channel_id),
        ):
            with pytest.raises(StoreError) as damaged:
                await call
            assert damaged.value.code == "unreadable"
            assert damaged.value.__cause__ is not None
        await store.save(session)


async def test_a_key_of_another_type_is_a_store_error(client: Redis, store: RedisSessionStore) -> None:
    session = make_session(uuid4())
    await client.rpush(keys.value_key(session.session_id), "one")
    for call in (store.get(session.session_id), store.save(session), store.delete(session.session_id)):
        with pytest.raises(StoreError) as wrong:
            await call
        assert (type(wrong.value), wrong.value.code, wrong.value.retryable) == (StoreError, "WRONGTYPE", False)


async def test_a_full_server_refuses_saves_and_serves_reads(own_client: Redis) -> None:
    store, session = RedisSessionStore(own_client), full_session(uuid4())
    await store.save(session)
    stored = session.model_copy(deep=True)
    await own_client.config_set("maxmemory", "1")
    session.status = SessionStatus.CLOSED
    for attempt in (session, session.model_copy(update={"user_channel_id": "other"}), make_session(uuid4())):
        with pytest.raises(ConnectionError) as full:
            await store.save(attempt)
        assert (full.value.code, full.value.outcome, full.value.retryable) == ("OOM", "not_applied", True)
    assert await store.get(stored.session_id) == stored
    assert await store.get_by_channel(stored.tenant_id, stored.channel, stored.user_channel_id) == stored
    assert await check(own_client) == 1
    await own_client.config_set("maxmemory", "0")
    await store.save(session)
    assert await check(own_client) == 1


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
async def test_a_server_that_may_evict_sessions_is_refused(own_client: Redis, policy: str) -> None:
    await check_eviction(own_client)
    await own_client.config_set("maxmemory-policy", policy)
    with pytest.raises(ValidationError, match=policy):
        await check_eviction(own_client)
