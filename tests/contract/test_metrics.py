"""Every store on every backend counts its calls, failures, retries and unknown outcomes alike."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore import inmemory, postgres
from convostore.call.store import Store
from convostore.embedded import Embedded
from convostore.errors import ConnectionError, ValidationError
from convostore.redis import RedisSessionStore, create_client
from convostore.testing.factories import make_agent, make_episode, make_profile, make_session, make_turn
from convostore.testing.faults import LostAnswers, around_attempts
from convostore.tiered import TieredSessionStore
from tests.counting import Counted

DURATION, RETRIES, UNKNOWN = (
    "db.client.operation.duration",
    "convostore.call.retries",
    "convostore.call.unknown_outcomes",
)

CALLS: dict[str, tuple[str, str, Callable[[UUID], Any]]] = {
    "session": ("get", "save", make_session),
    "config": ("get_agent", "save_agent", make_agent),
    "memory": ("get_episode", "add_episode", lambda tenant: make_episode(tenant, uuid4())),
    "audit": ("get_turn", "save_turn", make_turn),
    "profile": ("get_profile", "save_profile", make_profile),
}
"""Of each store a read, an idempotent write, and what makes an item to write."""

IN_MEMORY = {
    "session": inmemory.InMemorySessionStore,
    "config": inmemory.InMemoryConfigStore,
    "memory": inmemory.InMemoryMemoryStore,
    "audit": inmemory.InMemoryAuditStore,
    "profile": inmemory.InMemoryProfileStore,
}
ON_POSTGRES = {
    "session": postgres.PostgresSessionStore,
    "config": postgres.PostgresConfigStore,
    "memory": postgres.PostgresMemoryStore,
    "audit": postgres.PostgresAuditStore,
    "profile": postgres.PostgresProfileStore,
}


@pytest.fixture(
    params=[
        *(f"memory {kind}" for kind in CALLS),
        *(f"postgresql {kind}" for kind in CALLS),
        "redis session",
        "tiered session",
    ]
)
async def store(request: pytest.FixtureRequest, engines: Embedded) -> AsyncIterator[Store]:
    backend, kind = request.param.split()
    if backend == "memory":
        yield IN_MEMORY[kind](timeout=60.0)
        return
    async with (
        await postgres.create_pool(engines.postgres_dsn) as pool,
        create_client(engines.redis_url) as client,
    ):
        persistent = ON_POSTGRES[kind](pool, timeout=60.0)
        if backend == "postgresql":
            yield persistent
            return
        hot = RedisSessionStore(client, timeout=60.0)
        store = hot if backend == "redis" else TieredSessionStore(client, persistent, timeout=60.0)
        yield store
        await store.aclose()


def read(store: Store) -> tuple[str, Callable[..., Awaitable[Any]]]:
    """Return the name of a read by id, and the call of it."""
    operation = CALLS[store.kind][0]
    method = getattr(store, operation)
    return operation, method if store.kind == "session" else lambda found: method(uuid4(), found)


def write(store: Store) -> tuple[str, Callable[[], Awaitable[Any]]]:
    """Return the name of an idempotent write, and the call of it."""
    _, operation, make = CALLS[store.kind]
    return operation, lambda: getattr(store, operation)(make(uuid4()))


async def test_a_call_counts_once(store: Store) -> None:
    counted, (reads, get), (writes, save) = Counted(), read(store), write(store)
    await save()
    assert await get(uuid4()) is None
    assert counted[DURATION] == {
        (store.system, store.kind, writes, ""): 1,
        (store.system, store.kind, reads, ""): 1,
    }
    assert counted[RETRIES] == counted[UNKNOWN] == {}


async def test_a_failure_counts_with_its_type(store: Store) -> None:
    counted, (operation, get) = Counted(), read(store)
    with pytest.raises(ValidationError):
        await get("no id")
    assert counted[DURATION] == {(store.system, store.kind, operation, "ValidationError"): 1}
    assert counted[UNKNOWN] == {}


async def test_a_retry_counts_and_its_call_once(store: Store) -> None:
    operation, save = write(around_attempts(store, LostAnswers(times=1)))
    counted = Counted()
    await save()
    assert counted[DURATION] == {(store.system, store.kind, operation, ""): 1}
    assert counted[RETRIES] == {(store.kind, operation, "ConnectionError"): 1}
    assert counted[UNKNOWN] == {}


async def test_an_unknown_outcome_counts(store: Store) -> None:
    operation, save = write(around_attempts(store, LostAnswers()))
    counted = Counted()
    with pytest.raises(ConnectionError):
        await save()
    assert counted[DURATION] == {(store.system, store.kind, operation, "ConnectionError"): 1}
    assert counted[UNKNOWN] == {(store.kind, operation): 1}
