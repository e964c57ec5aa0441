"""Every public method of every store refuses calls after the end, in another event loop and in a forked child."""

from __future__ import annotations

import asyncio
import inspect
import os
from typing import Any
from uuid import uuid4

import pytest

from convostore.call.store import Store
from convostore.errors import StoreError
from convostore.inmemory import (
    InMemoryAuditStore,
    InMemoryConfigStore,
    InMemoryMemoryStore,
    InMemoryProfileStore,
    InMemorySessionStore,
)
from tests.round_trips.test_table import methods

STORES = (InMemorySessionStore, InMemoryConfigStore, InMemoryMemoryStore, InMemoryAuditStore, InMemoryProfileStore)

VALID: dict[str, Any] = {"scenario_version": 1, "step_content_hash": "hash"}
"""Arguments of streams that are no id: a stream checks its arguments before it asks for a page."""


@pytest.fixture(params=STORES, ids=lambda kind: kind.kind)
def kind(request: pytest.FixtureRequest) -> type[Store]:
    """Each store, as if it had connections: the refusal is the same for all backends."""
    kind: type[Store] = request.param
    return type(kind.__name__, (kind,), {"connected": True})


def made(kind: type[Store]) -> Store:
    """Return a store that belongs to an event loop of its own."""

    async def make() -> Store:
        return kind()

    return asyncio.run(make())


async def answers(store: Store) -> dict[str, Any]:
    """Call every method; return what each raised: its code, whether it is retryable, and its outcome."""
    found = {}
    for name in methods(type(store)) - {"health_check", "aclose"}:
        method = getattr(store, name)
        required = [each for each in inspect.signature(method).parameters.values() if each.default is each.empty]
        args = [VALID.get(each.name, uuid4()) for each in required if each.kind is each.POSITIONAL_OR_KEYWORD]
        kwargs = {each.name: uuid4() for each in required if each.kind is each.KEYWORD_ONLY}
        try:
            result = method(*args, **kwargs)
            if inspect.isawaitable(result):
                await result
            elif hasattr(result, "__aiter__"):
                await anext(result)
            else:
                async with result:
                    pass
        except StoreError as error:
            found[name] = (type(error).__name__, error.code, error.retryable, error.outcome)
    assert await store.health_check() is False
    return found


def refused(store: Store, code: str) -> dict[str, Any]:
    return dict.fromkeys(methods(type(store)) - {"health_check", "aclose"}, ("StoreError", code, False, "not_applied"))


def test_after_the_end(kind: type[Store]) -> None:
    store = made(kind)
    store._end_lifetime()
    assert asyncio.run(answers(store)) == refused(store, "closed")


def test_in_another_loop(kind: type[Store]) -> None:
    store = made(kind)
    assert asyncio.run(answers(store)) == refused(store, "wrong_loop")


def test_in_a_forked_child(kind: type[Store]) -> None:
    store = made(kind)
    child = os.fork()
    if child == 0:
        right = False
        try:
            right = asyncio.run(answers(store)) == refused(store, "forked")
        finally:
            os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
