"""What a get by id costs in memory does not grow with the rows that are kept, counted in function calls."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.inmemory import (
    InMemoryAuditStore,
    InMemoryConfigStore,
    InMemoryMemoryStore,
    InMemoryProfileStore,
    InMemorySessionStore,
)
from convostore.testing.config.rows import CONFIG_ROWS, ConfigRows
from convostore.testing.factories import make_entity, make_episode, make_event, make_profile, make_session, make_turn

FEW, MANY = 10, 200

Pair = tuple[Callable[[UUID], Awaitable[Any]], Callable[[UUID, Any], Awaitable[Any]]]
"""Saves a new item of a tenant and returns what names it, and reads it back."""


def of_config(rows: ConfigRows) -> Pair:
    store, agent = InMemoryConfigStore(), uuid4()

    async def save(tenant: UUID) -> Any:
        item = rows.make(tenant, agent)
        await rows.save(store, item)
        return item

    return save, lambda tenant, item: rows.get(store, item)


def of_the_others() -> dict[str, Pair]:
    sessions, memory, audit, profiles = (
        InMemorySessionStore(),
        InMemoryMemoryStore(),
        InMemoryAuditStore(),
        InMemoryProfileStore(),
    )
    return {
        "session": (lambda tenant: sessions.save(make_session(tenant)), lambda tenant, found: sessions.get(found)),
        "episode": (lambda tenant: memory.add_episode(make_episode(tenant, uuid4())), memory.get_episode),
        "entity": (lambda tenant: memory.add_entity(make_entity(tenant, uuid4())), memory.get_entity),
        "turn": (lambda tenant: audit.save_turn(make_turn(tenant)), audit.get_turn),
        "event": (lambda tenant: audit.save_event(make_event(tenant)), audit.get_event),
        "profile": (lambda tenant: profiles.save_profile(make_profile(tenant)), profiles.get_profile),
    }


BY_ID = [rows for rows in CONFIG_ROWS if rows.declaration.lookup == rows.declaration.key]
PAIRS = {**{str(rows): of_config(rows) for rows in BY_ID}, **of_the_others()}


async def calls_of(get: Callable[[], Awaitable[Any]]) -> int:
    """Return how many functions a warm get calls."""
    assert await get() is not None
    profile = cProfile.Profile()
    profile.enable()
    await get()
    profile.disable()
    calls: int = pstats.Stats(profile).total_calls  # type: ignore[attr-defined]
    return calls


@pytest.mark.parametrize("mine", [False, True], ids=["of others", "of the same tenant"])
@pytest.mark.parametrize("name", PAIRS)
async def test_a_get_costs_the_same_whatever_is_kept(name: str, mine: bool) -> None:
    save, get = PAIRS[name]
    tenant, counts = uuid4(), []
    for number in (FEW, MANY):
        for _ in range(number):
            await save(tenant if mine else uuid4())
        found = await save(tenant)
        counts.append(await calls_of(lambda found=found: get(tenant, found)))  # type: ignore[misc]
    assert counts[1] <= 1.1 * counts[0]
