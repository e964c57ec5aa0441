"""Concurrent upserts of the same new rows never wait for each other both ways."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from convostore.embedded import Embedded
from convostore.postgres import PostgresConfigStore, PostgresSessionStore, create_pool
from convostore.testing.factories import make_agent, make_session

pytestmark = pytest.mark.slow

CALLERS = 8


@pytest.fixture
async def pool(engines: Embedded) -> AsyncIterator[asyncpg.Pool[Any]]:
    """A pool whose calls miss their deadline in a deadlock, because the server does not look for it."""
    async with await create_pool(engines.postgres_dsn, settings={"deadlock_timeout": "1h"}) as opened:
        yield opened


async def test_one_after_the_other_replaces_a_session(pool: asyncpg.Pool[Any]) -> None:
    store, tenant = PostgresSessionStore(pool, timeout=10), uuid4()
    for _ in range(500):
        session_id = uuid4()
        sessions = [make_session(tenant, session_id=session_id) for _ in range(CALLERS)]
        await asyncio.gather(*(store.save(session, overwrite=True) for session in sessions))
        assert sorted(session.revision for session in sessions) == list(range(1, CALLERS + 1))


async def test_batches_insert_in_the_order_of_their_keys(pool: asyncpg.Pool[Any]) -> None:
    store, tenant = PostgresConfigStore(pool, timeout=10), uuid4()
    for _ in range(200):
        agents = [make_agent(tenant) for _ in range(CALLERS)]
        batches = [[agent.model_copy() for agent in random.sample(agents, CALLERS)] for _ in range(CALLERS)]
        await asyncio.gather(*(store.save_agents(batch, overwrite=True) for batch in batches))
        for agent in agents:
            revisions = [each.revision for batch in batches for each in batch if each.id == agent.id]
            assert sorted(revisions) == list(range(1, CALLERS + 1))
