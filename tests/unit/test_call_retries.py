"""Idempotent calls are retried after transient failures, others only if certainly not applied."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.call.call import current_call
from convostore.errors import ConflictError, ConnectionError, NotFoundError, StoreError, ValidationError
from convostore.models import Session
from convostore.testing.factories import make_session
from tests.unit.scripted import DriverError, ScriptedSessions


def get(store: ScriptedSessions) -> Awaitable[Any]:
    return store.get(uuid4())


def save(store: ScriptedSessions) -> Awaitable[Any]:
    return store.save(make_session(uuid4()))


def overwrite(store: ScriptedSessions) -> Awaitable[Any]:
    return store.save(make_session(uuid4()), overwrite=True)


def delete(store: ScriptedSessions) -> Awaitable[Any]:
    return store.delete(uuid4())


Call = Callable[[ScriptedSessions], Awaitable[Any]]
EVERY_EFFECT = pytest.mark.parametrize("call", [get, save, overwrite, delete])
NON_IDEMPOTENT = pytest.mark.parametrize("call", [overwrite, delete])
IDEMPOTENT = pytest.mark.parametrize("call", [get, save])
NOT_APPLIED = [
    DriverError("loading"),
    ConnectionError("busy", outcome="not_applied"),
    ConflictError("serialization failure", retryable=True),
]
LOST_ANSWERS = [
    ConnectionError("lost", outcome="unknown"),
    ConnectionRefusedError("refused"),
    BrokenPipeError("broken"),
    TimeoutError("slow"),
]


@EVERY_EFFECT
@pytest.mark.parametrize("failure", NOT_APPLIED, ids=repr)
async def test_a_call_that_was_not_applied_is_retried(call: Call, failure: Exception) -> None:
    store = ScriptedSessions(failure, failure)
    await call(store)
    assert store.attempts == 3


@IDEMPOTENT
@pytest.mark.parametrize("failure", LOST_ANSWERS, ids=repr)
async def test_an_idempotent_call_is_retried_after_a_lost_answer(call: Call, failure: Exception) -> None:
    store = ScriptedSessions(failure)
    await call(store)
    assert store.attempts == 2


@NON_IDEMPOTENT
@pytest.mark.parametrize("failure", LOST_ANSWERS, ids=repr)
async def test_a_non_idempotent_write_is_not_retried_after_a_lost_answer(call: Call, failure: Exception) -> None:
    store = ScriptedSessions(failure)
    with pytest.raises(ConnectionError) as caught:
        await call(store)
    assert store.attempts == 1
    assert (caught.value.outcome, caught.value.retryable) == ("unknown", True)


@NON_IDEMPOTENT
async def test_a_non_idempotent_write_is_retried_until_the_first_lost_answer(call: Call) -> None:
    store = ScriptedSessions(DriverError("loading"), ConnectionError("lost", outcome="unknown"))
    with pytest.raises(ConnectionError, match="lost"):
        await call(store)
    assert store.attempts == 2


@pytest.mark.parametrize("last", [DriverError("loading"), ConflictError("stale")], ids=repr)
async def test_after_a_lost_answer_the_outcome_remains_unknown(last: Exception) -> None:
    store = ScriptedSessions(ConnectionError("lost", outcome="unknown"), *[last] * 4)
    with pytest.raises(StoreError) as caught:
        await save(store)
    assert caught.value.outcome == "unknown"


@EVERY_EFFECT
@pytest.mark.parametrize(
    "failure",
    [
        ConflictError("stale"),
        NotFoundError("gone"),
        ValidationError("wrong"),
        StoreError("broken"),
        ConnectionError("refused for good", retryable=False),
        KeyError("surprise"),
    ],
    ids=repr,
)
async def test_a_permanent_failure_is_not_retried(call: Call, failure: Exception) -> None:
    store = ScriptedSessions(failure)
    with pytest.raises(StoreError):
        await call(store)
    assert store.attempts == 1


@IDEMPOTENT
async def test_retries_are_limited(call: Call) -> None:
    store = ScriptedSessions(*[DriverError("loading")] * 99)
    with pytest.raises(ConnectionError, match="The server is loading"):
        await call(store)
    assert store.attempts == 5


async def test_the_backoff_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("convostore.call.retries.asyncio.sleep", sleep)
    with pytest.raises(ConnectionError):
        await get(ScriptedSessions(*[DriverError("loading")] * 99))
    assert len(pauses) == 4
    for attempt, pause in enumerate(pauses):
        assert 0.01 * 2**attempt <= pause <= 0.03 * 2**attempt


async def test_the_backoff_does_not_exceed_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convostore.call.retries._FIRST_BACKOFF", 60.0)
    store = ScriptedSessions(*[DriverError("loading")] * 99, timeout=60.0)
    with pytest.raises(ConnectionError, match="The server is loading"):
        await get(store)
    assert store.attempts == 1


async def test_all_attempts_of_a_call_have_one_write_id_and_calls_have_different_ones() -> None:
    store = ScriptedSessions(DriverError("loading"), DriverError("loading"))
    await save(store)
    await save(store)
    first, second, third, other = store.write_ids
    assert first == second == third != other
    assert all(isinstance(write_id, UUID) for write_id in store.write_ids)


async def test_concurrent_calls_do_not_share_a_write_id() -> None:
    found: list[UUID] = []

    async def look() -> None:
        before = current_call().write_id
        await asyncio.sleep(0.001)
        assert current_call().write_id == before
        found.append(before)

    store = ScriptedSessions(*[look] * 10)
    await asyncio.gather(*(store.get(uuid4()) for _ in range(10)))
    assert len(set(found)) == 10


async def test_a_retried_save_sets_the_revision_once() -> None:
    session = make_session(uuid4())
    await ScriptedSessions(ConnectionError("lost", outcome="unknown")).save(session)
    assert session.revision == 1


async def test_a_store_that_calls_another_makes_one_call(caplog: pytest.LogCaptureFixture) -> None:
    inner = ScriptedSessions(*[DriverError("transient")] * 99)

    class Outer(ScriptedSessions):
        async def get(
            self, session_id: UUID, *, tenant_id: UUID | None = None, max_staleness: float = 0.0
        ) -> Session | None:
            return await inner.get(session_id, tenant_id=tenant_id)

    with pytest.raises(ConnectionError):
        await Outer().get(uuid4())
    assert inner.attempts == 5
    assert len(set(inner.write_ids)) == 1
    assert len(caplog.records) == 1
