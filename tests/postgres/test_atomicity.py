"""Writes of several tables while somebody holds one of the rows: all or nothing, and the answer counts right."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import pytest

from convostore.embedded import Embedded
from convostore.errors import ConnectionError
from convostore.postgres import PostgresConfigStore, PostgresMemoryStore, PostgresProfileStore
from convostore.testing.factories import (
    make_agent,
    make_entity,
    make_episode,
    make_identity,
    make_profile,
    make_relationship,
    make_rule,
    make_variable,
)
from tests.postgres.blocking import blocking, single, waiting
from tests.postgres.conftest import Pool

pytestmark = pytest.mark.slow

GROUP = UUID(int=11)
LOCK = "SELECT FROM convostore.{} WHERE tenant_id = $1 FOR UPDATE"

Call: TypeAlias = Callable[[float], Coroutine[Any, Any, Any]]
"""Makes a call with a timeout."""

LATER = datetime(2100, 1, 1, tzinfo=UTC)


async def owned(pool: Pool, tenant: UUID, *, deleted: bool = False) -> UUID:
    """Store an agent with rules and a variable; return its id."""
    store, agent = PostgresConfigStore(pool), make_agent(tenant)
    await store.save_agent(agent)
    await store.save_rules([make_rule(tenant, agent.id) for _ in range(3)])
    await store.save_variable(make_variable(tenant, agent.id))
    if deleted:
        await store.delete_agent(tenant, agent.id)
    return agent.id


async def grouped(pool: Pool, tenant: UUID) -> None:
    """Store episodes, entities and a relationship of a group and customer."""
    store, agent = PostgresMemoryStore(pool), uuid4()
    of = {"group_id": GROUP, "customer_profile_id": GROUP}
    entities = [make_entity(tenant, agent, **of) for _ in range(2)]
    await store.add_episodes([make_episode(tenant, agent, **of) for _ in range(3)])
    await store.add_entities(entities)
    await store.add_relationship(make_relationship(*entities))


async def purge_config(pool: Pool, tenant: UUID) -> Call:
    """Return the purge of a tenant's configuration."""
    await owned(pool, tenant, deleted=True)
    return lambda timeout: PostgresConfigStore(pool, timeout=timeout).purge_deleted(tenant, before=LATER)


async def delete_agent(pool: Pool, tenant: UUID) -> Call:
    """Return the deletion of an agent."""
    agent = await owned(pool, tenant)
    return lambda timeout: PostgresConfigStore(pool, timeout=timeout).delete_agent(tenant, agent)


async def restore_agent(pool: Pool, tenant: UUID) -> Call:
    """Return the restoring of an agent."""
    agent = await owned(pool, tenant, deleted=True)
    return lambda timeout: PostgresConfigStore(pool, timeout=timeout).restore_agent(tenant, agent)


async def delete_by_group(pool: Pool, tenant: UUID) -> Call:
    """Return the deletion of a group."""
    await grouped(pool, tenant)
    return lambda timeout: PostgresMemoryStore(pool, timeout=timeout).delete_by_group(tenant, GROUP)


async def delete_by_customer(pool: Pool, tenant: UUID) -> Call:
    """Return the deletion of a customer."""
    await grouped(pool, tenant)
    return lambda timeout: PostgresMemoryStore(pool, timeout=timeout).delete_by_customer(tenant, GROUP)


async def purge_profiles(pool: Pool, tenant: UUID) -> Call:
    """Return the purge of a tenant's profiles."""
    store = PostgresProfileStore(pool)
    for _ in range(2):
        profile = make_profile(tenant, channel_identities=[make_identity(channel_user_id=str(uuid4()))])
        await store.save_profile(profile)
        await store.delete_profile(tenant, profile.id)
    return lambda timeout: PostgresProfileStore(pool, timeout=timeout).purge_deleted(tenant, before=LATER)


CALLS = {
    # How a tenant is filled and what is called, the table whose rows are held, and the answer.
    "purge_deleted of configuration": (purge_config, "rule", 5),
    "delete_agent": (delete_agent, "variable", True),
    "restore_agent": (restore_agent, "rule", True),
    "delete_by_group": (delete_by_group, "entity", 6),
    "delete_by_customer": (delete_by_customer, "entity", 6),
    "purge_deleted of profiles": (purge_profiles, "channel_identity", 2),
}


async def stored(admin: Any, tables: list[str], tenant: UUID) -> dict[str, Any]:
    """Return the rows of a tenant."""
    return {
        table: await admin.fetch(
            f"SELECT t::text AS row FROM convostore.{table} AS t WHERE tenant_id = $1 ORDER BY 1", tenant
        )
        for table in tables
    }


@pytest.fixture
def compared(tables: list[str]) -> list[str]:
    """The tables that are compared: all but the audit trail."""
    return [table for table in tables if not table.startswith("audit_")]


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_that_does_not_get_a_row_has_changed_no_other(
    server: Embedded, admin: Any, compared: list[str], name: str
) -> None:
    fill, held, _ = CALLS[name]
    tenant = uuid4()
    async with single(server.postgres_dsn) as (pool, _):
        call = await fill(pool, tenant)
        before = await stored(admin, compared, tenant)
        async with blocking(server.postgres_dsn, LOCK.format(held), tenant):
            with pytest.raises(ConnectionError):
                await call(0.5)
            assert await stored(admin, compared, tenant) == before


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_that_gets_a_row_late_counts_all(server: Embedded, admin: Any, name: str) -> None:
    fill, held, answer = CALLS[name]
    tenant = uuid4()
    async with single(server.postgres_dsn) as (pool, pid):
        call = await fill(pool, tenant)
        async with blocking(server.postgres_dsn, LOCK.format(held), tenant) as blocker:
            calling = asyncio.create_task(call(20))
            await waiting(admin, pid)
            await blocker.let_go()
            assert await calling == answer
