"""An agent that was deleted anew meanwhile is restored with all that it owns, or not at all."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import asyncpg

from convostore.postgres import PostgresConfigStore
from convostore.postgres.queries import queries
from convostore.testing.factories import make_agent, make_rule

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%convostore.agent%'"


async def test_a_restore_beside_another_delete_restores_nothing_in_part(pool: asyncpg.Pool[Any], admin: Any) -> None:
    store, agent = PostgresConfigStore(pool, coalesce=False), make_agent(uuid4())
    rule = make_rule(agent.tenant_id, agent.id)
    await store.save_agent(agent)
    await store.save_rule(rule)
    assert await store.delete_agent(agent.tenant_id, agent.id)
    async with pool.acquire() as other, other.transaction():
        of = {"tenant_id": agent.tenant_id, "agent_id": agent.id}
        assert await other.fetchval(*queries("config").restore_agent(**of, write_id=uuid4()))
        assert await other.fetchval(
            *queries("config").delete_agent(**of, write_id=uuid4(), deleted_at=agent.created_at)
        )
        restoring = asyncio.create_task(store.restore_agent(agent.tenant_id, agent.id))
        while not await admin.fetchval(WAITING):
            assert not restoring.done()
    restored = await restoring
    found = [await store.get_agent(agent.tenant_id, agent.id), await store.get_rule(agent.tenant_id, rule.id)]
    assert [each is not None for each in found] == [restored] * 2
