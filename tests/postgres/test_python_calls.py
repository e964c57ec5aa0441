"""How much Python runs for a call on a hot path: functions of convostore that are entered, which no clock disturbs."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any
from uuid import uuid4

import pytest

from convostore.embedded import Embedded
from convostore.postgres import (
    PostgresAuditStore,
    PostgresConfigStore,
    PostgresMemoryStore,
    PostgresProfileStore,
    PostgresSessionStore,
    create_pool,
)
from convostore.testing.factories import (
    make_agent,
    make_episode,
    make_identity,
    make_profile,
    make_rule,
    make_session,
    make_turn,
)

_WARM_UP = 3


async def entered(call: Callable[[], Awaitable[Any]]) -> int:
    """Return how many functions of convostore a call enters once it is warm."""
    count = 0

    def note(frame: FrameType, event: str, _: Any) -> None:
        nonlocal count
        if event == "call" and str(frame.f_globals.get("__name__")).startswith("convostore."):
            count += 1

    for _ in range(_WARM_UP):
        await call()
    sys.setprofile(note)
    try:
        await call()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("dimensions", [8, 800])
async def test_a_call_enters_no_more_functions_than_it_needs(engines: Embedded, dimensions: int) -> None:
    tenant, vector = uuid4(), [1.0] * dimensions
    agent, session, profile = make_agent(tenant), make_session(tenant), make_profile(tenant)
    async with await create_pool(engines.postgres_dsn, max_size=1) as pool:
        config, memory, profiles = PostgresConfigStore(pool), PostgresMemoryStore(pool), PostgresProfileStore(pool)
        sessions, audit = PostgresSessionStore(pool), PostgresAuditStore(pool)
        await config.save_agent(agent)
        await config.save_rules([make_rule(tenant, agent.id, embedding=vector) for _ in range(10)])
        await memory.add_episodes([make_episode(tenant, agent.id, embedding=vector) for _ in range(10)])
        await profiles.save_profile(profile)
        identity = make_identity()
        await profiles.link_channel(tenant, profile.id, identity.channel, identity.channel_user_id)
        await sessions.save(session)
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "get_agent": lambda: config.get_agent(tenant, agent.id),
            "get_agent_config": lambda: config.get_agent_config(tenant, agent.id),
            "vector_search_rules": lambda: config.vector_search_rules(vector, tenant, agent.id),
            "vector_search_episodes": lambda: memory.vector_search_episodes(vector, tenant, agent.id),
            "add_episodes": lambda: memory.add_episodes([make_episode(tenant, agent.id, embedding=vector)]),
            "get_by_channel_identity": lambda: profiles.get_by_channel_identity(
                tenant, identity.channel, identity.channel_user_id
            ),
            "save_turn": lambda: audit.save_turn(make_turn(tenant)),
            "get": lambda: sessions.get(session.session_id),
            "save": lambda: sessions.save(session),
        }
        found = {name: await entered(call) for name, call in calls.items()}
    assert {name: count for name, count in found.items() if count > BOUNDS[name]} == {}


BOUNDS = {
    "get_agent": 102,
    "get_agent_config": 123,
    "vector_search_rules": 166,
    "vector_search_episodes": 168,
    "add_episodes": 143,
    "get_by_channel_identity": 82,
    "save_turn": 129,
    "get": 93,
    "save": 132,
}
"""A tenth more than was needed when they were set, so that a loop or a walk that is added by mistake is seen."""
