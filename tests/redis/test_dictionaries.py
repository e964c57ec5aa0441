"""Dictionaries of demoted sessions: they save memory, can be replaced, and a missing one is an error."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from convostore.errors import StoreError, ValidationError
from convostore.models import Session
from convostore.redis import RedisSessionStore, keys, train_dictionary
from convostore.testing.factories import full_session, make_session
from tests.redis.checking import check


def trained(text: str) -> bytes:
    """Return a dictionary of sessions that have this text in common."""
    samples = [full_session(uuid4()) for _ in range(100)]
    for number, session in enumerate(samples):
        session.variables["note"] = f"{text} {number}"
    return train_dictionary(samples, size=2_048)


@pytest.fixture(scope="module")
def old() -> bytes:
    return trained("what sessions used to be about")


@pytest.fixture(scope="module")
def new() -> bytes:
    return trained("what they are about by now")


async def demoted(store: RedisSessionStore) -> Session:
    """Save a session and demote it."""
    session = full_session(uuid4())
    await store.save(session)
    assert await store.demote_to_persistent(session.session_id)
    return session


async def size_of(client: Redis, session: Session) -> int:
    """Return how many bytes a session's value has."""
    return int(await client.strlen(keys.value_key(session.session_id)))


async def test_a_dictionary_makes_demoted_sessions_smaller(client: Redis, old: bytes) -> None:
    sizes = [
        await size_of(client, await demoted(RedisSessionStore(client, dictionaries=given))) for given in ([], [old])
    ]
    assert sizes[1] < 0.8 * sizes[0]


async def test_values_of_several_dictionaries_are_read_side_by_side(client: Redis, old: bytes, new: bytes) -> None:
    sessions = [await demoted(RedisSessionStore(client, dictionaries=given)) for given in ([], [old], [new])]
    store = RedisSessionStore(client, dictionaries=[new, old])
    for session in sessions:
        assert await store.list_by_agent(session.tenant_id, session.agent_id) == [session]
        assert await store.get(session.session_id) == session
    await store.aclose()
    for session in sessions:
        assert await store.demote_to_persistent(session.session_id), "reading it has promoted it"
        assert await RedisSessionStore(client, dictionaries=[new]).get(session.session_id) == session


async def test_a_missing_dictionary_is_named_in_the_error(client: Redis, old: bytes, new: bytes) -> None:
    session = await demoted(RedisSessionStore(client, dictionaries=[old]))
    number = int.from_bytes(old[4:8], "little")
    before = await client.get(keys.value_key(session.session_id))
    for given in ([], [new]):
        store = RedisSessionStore(client, dictionaries=given)
        calls: list[Awaitable[object]] = [
            store.get(session.session_id),
            store.promote_to_hot(session.session_id),
        ]
        for call in calls:
            with pytest.raises(StoreError, match=f"^session {session.session_id}: .* dictionary {number}"):
                await call
    assert await client.get(keys.value_key(session.session_id)) == before


async def test_a_session_whose_dictionary_is_missing_can_be_overwritten_and_deleted(client: Redis, old: bytes) -> None:
    store = RedisSessionStore(client)
    session, other = [await demoted(RedisSessionStore(client, dictionaries=[old])) for _ in range(2)]
    await store.save(session)
    assert await store.get(session.session_id) == session
    assert await store.delete(other.session_id)
    assert await check(client) == 1


async def test_a_damaged_value_is_recognised_by_its_checksum(client: Redis, old: bytes) -> None:
    store = RedisSessionStore(client, dictionaries=[old])
    session = await demoted(store)
    key = keys.value_key(session.session_id)
    value = await client.get(key)
    assert isinstance(value, bytes)
    await client.set(key, value[:-1] + bytes([value[-1] ^ 1]))
    with pytest.raises(StoreError):
        await store.get(session.session_id)


async def test_concurrent_calls_share_a_dictionary(client: Redis, old: bytes) -> None:
    store = RedisSessionStore(client, dictionaries=[old])
    sessions = await asyncio.gather(*(demoted(store) for _ in range(100)))
    assert await asyncio.gather(*(store.get(session.session_id) for session in sessions)) == sessions


def test_equal_samples_give_equal_dictionaries() -> None:
    samples = [full_session(uuid4()) for _ in range(100)]
    assert train_dictionary(samples) == train_dictionary(samples)


@pytest.mark.parametrize("size", [0, 1_023, 1_048_577])
def test_the_size_of_a_dictionary_is_bounded(size: int) -> None:
    with pytest.raises(ValidationError, match="size"):
        train_dictionary([full_session(uuid4()) for _ in range(100)], size=size)


@pytest.mark.parametrize("samples", [0, 1, 3])
def test_too_few_samples_are_refused(samples: int) -> None:
    with pytest.raises(ValidationError, match="samples"):
        train_dictionary([make_session(uuid4()) for _ in range(samples)])


async def test_anything_but_a_trained_dictionary_is_refused(client: Redis, old: bytes) -> None:
    for wrong in ([b""], [b"text"], [old[:100]], [old, b"text"], [old, old]):
        with pytest.raises(ValidationError, match="dictionaries"):
            RedisSessionStore(client, dictionaries=wrong)
