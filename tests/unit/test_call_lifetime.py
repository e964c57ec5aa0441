"""Stores are used in the process and the event loop that opened them, until they are closed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from convostore import Stores, open_stores
from convostore.errors import StoreError
from convostore.inmemory import InMemoryConfigStore
from tests.unit.scripted import ScriptedSessions


class Connected(ScriptedSessions):
    """A store that claims to have connections."""

    connected = True


def refusal(error: StoreError) -> tuple[str | None, bool, str]:
    return error.code, error.retryable, error.outcome


async def refused(call: Callable[[], Awaitable[Any]], code: str) -> None:
    with pytest.raises(StoreError) as caught:
        await call()
    assert refusal(caught.value) == (code, False, "not_applied")
    assert type(caught.value) is StoreError


async def test_after_the_end_every_call_is_refused() -> None:
    store = Connected()
    twin = store.for_tenant(uuid4()).within(1)
    await store.get(uuid4())
    store._end_lifetime()
    for each in (store, twin):
        await refused(partial(each.get, uuid4()), "closed")
        assert await each.health_check() is False
    assert store.attempts == 1


async def test_a_stream_of_closed_stores_is_refused() -> None:
    store = InMemoryConfigStore()
    store._end_lifetime()
    await refused(lambda: anext(store.iter_agents(uuid4())), "closed")


async def test_a_lock_of_closed_stores_is_refused() -> None:
    store = Connected()
    store._end_lifetime()

    async def lock() -> None:
        async with store.lock(uuid4()):
            pass

    await refused(lock, "closed")


def test_another_loop_is_refused_before_anything_is_sent() -> None:
    store = Connected()
    asyncio.run(_get(store))
    with pytest.raises(StoreError) as caught:
        asyncio.run(_get(store))
    assert refusal(caught.value) == ("wrong_loop", False, "not_applied")
    assert store.attempts == 1


def test_a_store_belongs_to_the_loop_that_made_it() -> None:
    async def made() -> Connected:
        return Connected()

    store = asyncio.run(made())
    with pytest.raises(StoreError, match="another event loop"):
        asyncio.run(_get(store))


def test_a_store_without_connections_is_used_in_any_loop() -> None:
    store = ScriptedSessions()
    asyncio.run(_get(store))
    asyncio.run(_get(store))
    assert store.attempts == 2


def test_a_forked_child_is_refused_and_closes_nothing() -> None:
    store = Connected()
    with asyncio.Runner() as runner:
        runner.run(_get(store))
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                runner.run(_get(store))
                code = "answered"
            except StoreError as error:
                code = error.code or ""
            os.write(writing, code.encode())
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(reading, 100) == b"forked"
        runner.run(_get(store))
    os.close(reading)
    os.close(writing)


async def test_stores_that_were_left_are_closed() -> None:
    async with open_stores(backend="memory") as stores:
        bound = stores.for_tenant(uuid4())
    for each in (stores, bound):
        for call in calls(each):
            await refused(call, "closed")


def calls(stores: Stores) -> list[Callable[[], Awaitable[Any]]]:
    tenant, some = stores.config._tenant or uuid4(), uuid4()
    return [
        lambda: stores.sessions.get(some),
        lambda: stores.config.get_agent(tenant, some),
        lambda: stores.memory.get_episode(tenant, some),
        lambda: stores.audit.get_turn(tenant, some),
        lambda: stores.profiles.get_profile(tenant, some),
    ]


async def _get(store: ScriptedSessions) -> None:
    await store.get(uuid4())
