"""A call ends at its deadline, whatever it waits for, and passes a cancellation on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from convostore.call.deadlines import DEFAULT_TIMEOUT
from convostore.errors import ConnectionError, ValidationError
from convostore.inmemory import InMemoryAuditStore
from convostore.testing.factories import make_session
from tests.unit.scripted import DriverError, ScriptedSessions


async def for_ever() -> None:
    await asyncio.Event().wait()


def calls(store: ScriptedSessions) -> dict[str, Callable[[], Any]]:
    return {
        "get": lambda: store.get(uuid4()),
        "save": lambda: store.save(make_session(uuid4())),
        "delete": lambda: store.delete(uuid4()),
    }


EVERY_CALL = pytest.mark.parametrize("name", ["get", "save", "delete"])


@EVERY_CALL
async def test_a_call_that_hangs_ends_at_the_deadline(name: str) -> None:
    store = ScriptedSessions(for_ever, timeout=0.05)
    started = time.monotonic()
    with pytest.raises(ConnectionError) as caught:
        await calls(store)[name]()
    assert 0.04 <= time.monotonic() - started < 1
    assert (caught.value.code, caught.value.retryable) == ("timeout", True)
    assert caught.value.outcome == ("not_applied" if name == "get" else "unknown")
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert store.attempts == 1


async def test_the_deadline_covers_all_attempts_together() -> None:
    store = ScriptedSessions(DriverError("loading"), for_ever, timeout=0.1)
    started = time.monotonic()
    with pytest.raises(ConnectionError) as caught:
        await store.get(uuid4())
    assert time.monotonic() - started < 1
    assert caught.value.code == "timeout"
    assert store.attempts == 2


async def test_a_deadline_can_be_chosen_per_store_and_per_call() -> None:
    assert DEFAULT_TIMEOUT == 5.0
    store = ScriptedSessions(for_ever, for_ever)
    hasty = store.within(0.02)
    assert type(hasty) is ScriptedSessions
    with pytest.raises(ConnectionError, match=r"did not finish in its 0\.02 s; `within"):
        await hasty.get(uuid4())
    assert hasty.within(9).within(0.01) is not hasty
    with pytest.raises(ConnectionError):
        await hasty.within(9).within(0.01).get(uuid4())


async def test_a_store_with_another_deadline_shares_the_data() -> None:
    store = InMemoryAuditStore()
    assert await store.within(0.5).list_turns_by_tenant(uuid4()) == []
    assert store.within(0.5)._tables is store._tables


@EVERY_CALL
async def test_cancellation_propagates_unlogged(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "convostore")
    store = ScriptedSessions(for_ever)
    task = asyncio.create_task(calls(store)[name]())
    await store.started.wait()
    task.cancel("enough")
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await task
    assert task.cancelled()
    assert store.attempts == 1
    assert caplog.records == []


async def test_the_backoff_can_be_cancelled() -> None:
    store = ScriptedSessions(*[DriverError("loading")] * 5)
    task = asyncio.create_task(store.get(uuid4()))
    await store.started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert store.attempts == 1


async def test_a_timeout_of_the_caller_remains_the_callers() -> None:
    store = ScriptedSessions(for_ever)
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.02):
            await store.get(uuid4())
    assert not isinstance(caught.value, ConnectionError)


async def test_cancellation_does_not_change_the_callers_object() -> None:
    session, store = make_session(uuid4()), ScriptedSessions(for_ever)
    before = session.model_copy(deep=True)
    task = asyncio.create_task(store.save(session))
    await store.started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert session == before


async def test_a_health_check_has_a_deadline() -> None:
    started = time.monotonic()
    assert await ScriptedSessions(for_ever, timeout=0.05).health_check() is False
    assert time.monotonic() - started < 1
    assert await ScriptedSessions().health_check() is True


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), True, None, "1"])
def test_an_invalid_deadline_is_refused(seconds: Any) -> None:
    with pytest.raises(ValidationError, match="seconds"):
        InMemoryAuditStore().within(seconds)
