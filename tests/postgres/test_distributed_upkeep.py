"""Upkeep of all tenants where tables are distributed: it alone asks several shards.

By a stand-in for Citus on one server; `tests/citus` runs the same on Citus.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest

from convostore.models import Session
from convostore.models.fields import now
from convostore.operations.sweeping import sweep_once
from convostore.postgres import PostgresConfigStore, PostgresProfileStore, PostgresSessionStore, create_pool
from convostore.postgres.overview import Overview
from convostore.postgres.pool import MAINTENANCE_ROLE, READER_ROLE
from convostore.postgres.purging import expire, purge
from convostore.postgres.reindexing import tenants_with_embeddings
from convostore.postgres.text_reindexing import reindex_text
from convostore.testing.factories import make_agent, make_field, make_profile, make_session
from tests.postgres.databases import connected
from tests.postgres.filled import fill
from tests.postgres.test_distributed_form import Pool, rules

__all__ = ["rules"]

SEVERAL_SHARDS = """
SELECT proname FROM pg_proc
WHERE pronamespace = 'convostore'::regnamespace AND 'citus.multi_task_query_log_level=off' = ANY (proconfig)
"""


@pytest.fixture(scope="module")
async def pool(prepared: str, rules: None) -> AsyncIterator[Pool]:
    async with await create_pool(prepared) as opened:
        yield opened


@pytest.fixture(scope="module")
async def maintenance(prepared: str, rules: None) -> AsyncIterator[Pool]:
    async with await create_pool(prepared, role=MAINTENANCE_ROLE) as opened:
        yield opened


@pytest.fixture(scope="module")
async def tenants(pool: Pool) -> list[UUID]:
    """Several tenants, of more shards than one with great probability, by id."""
    return sorted([await fill(pool) for _ in range(6)])


async def test_the_functions_of_upkeep_alone_ask_several_shards(prepared: str) -> None:
    async with connected(prepared) as admin:
        assert {name for (name,) in await admin.fetch(SEVERAL_SHARDS)} == {
            *("old_sessions", "tenants", "text_tenants", "tenants_with_embeddings"),
            *("tenants_to_purge", "tenants_with_stale_fields"),
        }


async def test_a_sweep_deletes_the_old_sessions_of_every_tenant(pool: Pool, tenants: list[UUID]) -> None:
    store = PostgresSessionStore(pool, max_age=timedelta(days=1), sessions_by_tenant=True)

    async def left(session: Session) -> bool:
        return await store.get(session.session_id, tenant_id=session.tenant_id) is not None

    earlier = PostgresSessionStore(pool, sessions_by_tenant=True, clock=lambda: now() - timedelta(days=2))
    old, new = ([make_session(tenant) for tenant in tenants] for _ in range(2))
    for session in old:
        await earlier.save(session)
    for session in new:
        await store.save(session)
    assert (await sweep_once(store)).deleted >= len(tenants)
    assert [await left(session) for session in old] == [False] * len(tenants)
    assert [await left(session) for session in new] == [True] * len(tenants)
    assert (await sweep_once(store)).deleted == 0


async def test_a_purge_removes_what_every_tenant_deleted(pool: Pool, maintenance: Pool, tenants: list[UUID]) -> None:
    config = PostgresConfigStore(pool)
    gone = [make_agent(tenant) for tenant in tenants]
    for agent in gone:
        await config.save_agent(agent)
        await config.delete_agent(agent.tenant_id, agent.id)
    assert sum([count async for count in purge(maintenance, before=now(), batch=2)]) >= len(tenants)
    assert [await config.restore_agent(agent.tenant_id, agent.id) for agent in gone] == [False] * len(tenants)
    assert [count async for count in purge(maintenance, before=now())] == []


async def test_fields_of_every_tenant_expire(pool: Pool, maintenance: Pool, tenants: list[UUID]) -> None:
    profiles, moment = PostgresProfileStore(pool), now()
    kept = [
        make_profile(tenant, fields={"city": make_field(expires_at=moment - timedelta(hours=1))}) for tenant in tenants
    ]
    for profile in kept:
        await profiles.save_profile(profile)
    assert sum([count async for count in expire(maintenance, at=moment)]) >= len(tenants)
    for profile in kept:
        found = await profiles.get_profile(profile.tenant_id, profile.id)
        assert found is not None
        assert found.fields == {}
    assert [count async for count in expire(maintenance, at=moment)] == []


async def test_an_operator_sees_every_tenant(prepared: str, tenants: list[UUID]) -> None:
    async with await create_pool(prepared, role=READER_ROLE) as reader:
        overview = Overview(reader)
        every = await overview.tenants(limit=3)
        while more := await overview.tenants(after=every[-1], limit=1_000):
            every += more
        assert every == sorted(every)
        assert set(tenants) <= set(every)
        assert await overview.login() != ""
        assert {"agent", "audit_body"} <= set(await overview.sizes())
        for tenant in tenants:
            rows = await overview.rows(tenant)
            assert rows["agent"] >= 1
            assert rows["audit_record"] == 2
    assert set(tenants) <= set(await tenants_with_embeddings(prepared))


async def test_texts_of_every_tenant_are_found_as_they_should_be(maintenance: Pool, tenants: list[UUID]) -> None:
    batches = [batch async for batch in reindex_text(maintenance)]
    assert set(tenants) <= {batch.after.tenant_id for batch in batches}
    assert [batch for batch in batches if batch.changed and batch.after.tenant_id in tenants] == []
