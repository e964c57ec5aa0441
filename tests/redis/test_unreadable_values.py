"""Values that cannot be read: named by calls for one session, left out of lists, set aside by sweeps, and deletable."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import zstandard
from redis.asyncio import Redis

from convostore.errors import ConnectionError, StoreError
from convostore.models import Session, SessionStatus
from convostore.models.fields import now
from convostore.operations.sweeping import sweep_once
from convostore.redis import RedisSessionStore, keys, train_dictionary
from convostore.testing.factories import full_session, make_session, make_visit
from tests.redis.administration import all_keys
from tests.redis.checking import check

pytestmark = pytest.mark.slow

Damage = Callable[[bytes], bytes | None]
"""Returns what is left of a value; None for a key of another type."""

DICTIONARY = train_dictionary(full_session(uuid4()) for _ in range(200))


def compressed(value: bytes, *, dictionary: bytes | None = None, cut: int | None = None) -> bytes:
    """Return a value as it is when it is demoted."""
    line, _, payload = value.partition(b"\n")
    trained = zstandard.ZstdCompressionDict(dictionary) if dictionary else None
    frame = zstandard.ZstdCompressor(dict_data=trained).compress(payload[1:])
    return line + b"\nz" + frame[:cut]


def in_header(field: int, text: bytes) -> Damage:
    """Replace a field of the header."""

    def damage(value: bytes) -> bytes:
        line, _, rest = value.partition(b"\n")
        fields = line.split(b"|")
        fields[field] = text
        return b"|".join(fields) + b"\n" + rest

    return damage


UNKNOWN_HEADER: dict[str, Damage] = {
    "garbage": lambda value: b"\xff\x00garbage",
    "JSON": lambda value: b"{}",
    "empty": lambda value: b"\n",
    "a cut header": lambda value: value[:20],
    "another type": lambda value: None,
    "a header of another version": in_header(0, b"2"),
    "a header with another channel": in_header(6, b"c"),
    "a long line": lambda value: b"1|" * 5_000,
}
"""Damages after which a header does not say whose session it is, nor in which indexes."""

UNKNOWN_PAYLOAD: dict[str, Damage] = {
    "no payload": lambda value: value.partition(b"\n")[0],
    "a cut payload": lambda value: value[:-10],
    "a payload of another kind": lambda value: value.partition(b"\n")[0] + b"\np[]",
    "an empty object": lambda value: value.partition(b"\n")[0] + b"\np{}",
    "an unknown codec": lambda value: value.replace(b"\np", b"\nq", 1),
    "no frame": lambda value: value.replace(b"\np", b"\nz", 1),
    "a cut frame": lambda value: compressed(value, cut=-10),
    "an unknown dictionary": lambda value: compressed(value, dictionary=DICTIONARY),
    "a large revision": in_header(4, b"9" * 30),
    "another tenant": lambda value: in_header(2, str(uuid4()).encode())(value),
}
"""Damages that leave the names of the indexes."""

DAMAGES = {**UNKNOWN_HEADER, **UNKNOWN_PAYLOAD}
each_damage = pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)


async def stored(store: RedisSessionStore, tenant: UUID, **fields: Any) -> Session:
    """Return a stored session that is in every index."""
    session = full_session(tenant)
    update = {"status": SessionStatus.ACTIVE, "step_history": [make_visit(step_content_hash="here")], **fields}
    session = session.model_copy(update=update)
    await store.save(session)
    return session


async def damaged(client: Redis, session: Session, damage: Damage) -> None:
    """Damage the value of a session."""
    key = keys.value_key(session.session_id)
    value = await client.get(key)
    assert isinstance(value, bytes)
    left = damage(value)
    await client.delete(key)
    if left is None:
        await client.rpush(key, "one")
    else:
        await client.set(key, left)


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the sessions that were left out, since the last call."""
    found = [str(vars(record)["entity_id"]) for record in caplog.records if record.levelno == logging.WARNING]
    caplog.clear()
    return found


@each_damage
async def test_a_call_for_it_raises_an_error_that_names_it(
    client: Redis, store: RedisSessionStore, damage: Damage
) -> None:
    session = await stored(store, uuid4())
    await damaged(client, session, damage)
    before = await client.dump(keys.value_key(session.session_id))
    for call in (store.get, store.promote_to_hot, store.demote_to_persistent):
        with pytest.raises(
            StoreError, match=f"^session {session.session_id}: the stored value cannot be read"
        ) as error:
            await call(session.session_id)
        assert not isinstance(error.value, ConnectionError)
        assert (error.value.code, error.value.outcome, error.value.retryable) == ("unreadable", "not_applied", False)
    assert await client.dump(keys.value_key(session.session_id)) == before


@pytest.mark.parametrize("damage", UNKNOWN_HEADER.values(), ids=UNKNOWN_HEADER)
async def test_neither_a_save_nor_a_lock_nor_another_tenant_touches_what_has_no_header(
    client: Redis, store: RedisSessionStore, damage: Damage
) -> None:
    session = await stored(store, uuid4())
    await damaged(client, session, damage)
    before = await client.dump(keys.value_key(session.session_id))
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.save(session),
        lambda: store.save(session, overwrite=True),
        lambda: store.for_tenant(session.tenant_id).delete(session.session_id),
    ]
    for call in calls:
        with pytest.raises(StoreError, match=str(session.session_id)) as error:
            await call()
        assert (error.value.code, error.value.outcome) == ("unreadable", "not_applied")
    assert await client.dump(keys.value_key(session.session_id)) == before


@each_damage
async def test_lists_leave_it_out_and_say_so_once(
    client: Redis, store: RedisSessionStore, damage: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    tenant, first = uuid4(), await stored(store, uuid4())
    same = first.model_dump(include={"agent_id", "customer_profile_id", "channel", "user_channel_id"})
    same |= {"active_scenario_id": first.active_scenario_id}
    sessions = [await stored(store, tenant, **same) for _ in range(4)]
    lost, sound = sessions.pop(), sessions[::-1]
    await damaged(client, lost, damage)
    foreign = damage is UNKNOWN_PAYLOAD["another tenant"]
    scenario, customer, version = first.active_scenario_id, first.customer_profile_id, first.active_scenario_version
    assert scenario is not None
    assert customer is not None
    assert version is not None
    warnings_in(caplog)
    lists: list[Callable[[], Awaitable[list[Session]]]] = [
        lambda: store.list_by_agent(tenant, first.agent_id),
        lambda: store.list_by_agent(tenant, first.agent_id, limit=3),
        lambda: store.list_by_agent(tenant, first.agent_id, status=SessionStatus.ACTIVE),
        lambda: store.list_by_customer(tenant, customer),
        lambda: store.find_sessions_by_step_hash(tenant, scenario, version, "here"),
    ]
    for listed in lists:
        assert await listed() == sound
        assert warnings_in(caplog) == ([] if foreign else [str(lost.session_id)])
    assert await store.list_by_agent(tenant, first.agent_id, limit=2) == sound[:2]
    assert await store.get_by_channel(tenant, first.channel, first.user_channel_id) == sound[0]


@each_damage
async def test_a_sweep_demotes_the_others_and_deletes_it_when_it_is_old(
    client: Redis, damage: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    ahead = timedelta()
    store = RedisSessionStore(client, clock=lambda: now() + ahead)
    # One damaged session per bucket would fill a sweep of 64.
    lost = {keys.bucket(each): each for each in (uuid4() for _ in range(1_000))}.values()
    for each in lost:
        await store.save(session := make_session(uuid4(), session_id=each))
        await damaged(client, session, damage)
    sound = [await stored(store, uuid4()) for _ in range(20)]
    ahead = timedelta(hours=1)
    assert len(lost) == 64
    async with asyncio.timeout(30):
        assert (await store.sweep(limit=64)).demoted > 0, "what it sets aside is no end"
        await sweep_once(store)
    for session in sound:
        assert await store.demote_to_persistent(session.session_id) is False
    warnings_in(caplog)
    assert await store.sweep() == (0, 0)
    assert warnings_in(caplog) == [], "it was set aside"
    ahead = timedelta(days=8)
    assert (await sweep_once(store)).deleted == len(lost) + len(sound)
    assert [key for key in await all_keys(client) if b":session:" in key or key.endswith((b"hot", b"cold"))] == []


@each_damage
async def test_it_can_be_deleted_and_leaves_the_lists(
    client: Redis, store: RedisSessionStore, damage: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    session = await stored(store, uuid4())
    tenant = session.tenant_id
    await store.acquire_lock(session.session_id, uuid4())
    await damaged(client, session, damage)
    assert await store.delete(session.session_id) is True
    assert await store.delete(session.session_id) is False
    assert await store.get(session.session_id) is None
    customer, scenario, version = (
        session.customer_profile_id,
        session.active_scenario_id,
        session.active_scenario_version,
    )
    assert customer is not None
    assert scenario is not None
    assert version is not None
    warnings_in(caplog)
    for _ in range(2):
        assert await store.list_by_agent(tenant, session.agent_id) == []
        assert await store.list_by_customer(tenant, customer) == []
        assert await store.find_sessions_by_step_hash(tenant, scenario, version, "here") == []
        assert await store.get_by_channel(tenant, session.channel, session.user_channel_id) is None
        await store.aclose()
    assert warnings_in(caplog) == []
    assert await check(client, settled=False) == 0
    assert await store.save(session.model_copy(update={"revision": 0})) == session.session_id
    assert await check(client) == 1


async def test_an_index_of_another_type_takes_no_more_than_itself(
    client: Redis, store: RedisSessionStore, caplog: pytest.LogCaptureFixture
) -> None:
    session = await stored(store, uuid4())
    tenant, bucket = session.tenant_id, keys.bucket(session.session_id)
    other = make_session(tenant, agent_id=session.agent_id, status=SessionStatus.IDLE)
    await store.save(other)
    index = f"{bucket}{keys.agent_index(tenant, session.agent_id, session.status)}"
    for key in (index, f"{bucket}hot", f"{keys.channel_of(session)}open"):
        await client.delete(key)
        await client.set(key, "one")
    warnings_in(caplog)
    assert await store.list_by_agent(tenant, session.agent_id) == [other]
    assert warnings_in(caplog) == [index]
    assert await store.get_by_channel(tenant, session.channel, session.user_channel_id) is None
    late = RedisSessionStore(client, clock=lambda: now() + timedelta(hours=1))
    assert (await late.sweep()).demoted == (keys.bucket(other.session_id) != bucket)


async def test_entries_that_name_no_session_of_the_bucket_leave_the_index_of_a_tier(client: Redis) -> None:
    store = RedisSessionStore(client, hot_ttl=timedelta(microseconds=1))
    session = await stored(store, uuid4())
    hot = f"{keys.bucket(session.session_id)}hot"
    elsewhere = next(each for each in iter(uuid4, None) if keys.bucket(each) != keys.bucket(session.session_id))
    absent = next(each for each in iter(uuid4, None) if keys.bucket(each) == keys.bucket(session.session_id))
    await client.zadd(hot, {"garbage": 0, str(elsewhere): 0, str(absent): 0, str(session.session_id).upper(): 0})
    assert await sweep_once(store) == (1, 0)
    assert await check(client) == 1
