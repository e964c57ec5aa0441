"""Many writers at once: they wait for each other within a chain, and nowhere else."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from convostore.embedded import Embedded
from convostore.postgres import PostgresAuditStore, create_pool
from convostore.testing.factories import make_event, make_turn
from tests.postgres.databases import connected

LOCK = "SELECT FROM convostore.audit_head WHERE tenant_id = $1 AND chain = $2 FOR UPDATE"


async def test_fifty_writers_of_turns_events_and_batches_break_no_chain(server: Embedded) -> None:
    tenants, sessions = [uuid4(), uuid4()], [uuid4() for _ in range(5)]
    async with await create_pool(server.postgres_dsn, max_size=25) as pool:
        store = PostgresAuditStore(pool, timeout=60)

        async def write(number: int) -> None:
            tenant = tenants[number % 2]
            turns = [make_turn(tenant, session_id=session, turn_number=number) for session in sessions]
            events = [make_event(tenant, session_id=session) for session in (None, *sessions[::-1])]
            if number % 3:
                await store.save_turns(turns[:: (-1) ** number])
                await store.save_events(events)
            else:
                await asyncio.gather(*map(store.save_turn, turns), *map(store.save_event, events))

        await asyncio.gather(*map(write, range(50)))
        for tenant in tenants:
            result = await store.verify(tenant)
            assert (result.ok, result.chains, result.records, result.bodies) == (True, 6, 25 * 11, 25 * 11)


@pytest.mark.parametrize("held", ["a session", "the tenant's own"])
async def test_appending_to_a_chain_does_not_block_other_chains(
    server: Embedded, pool: asyncpg.Pool[Any], held: str
) -> None:
    store, tenant, session = PostgresAuditStore(pool), uuid4(), uuid4()

    async def save(of: UUID | None) -> None:
        await store.save_event(make_event(tenant, session_id=of))

    chains = [session, None]
    await asyncio.gather(*map(save, chains))
    of = session if held == "a session" else None
    async with connected(server.postgres_dsn) as admin:
        transaction = admin.transaction()
        await transaction.start()
        await admin.fetch(LOCK, tenant, str(of or ""))
        waiting = asyncio.create_task(save(of))
        await save(None if of else session)
        await save(uuid4())
        assert not waiting.done()
        await transaction.rollback()
        await waiting
    assert (await store.verify(tenant)).records == 5
