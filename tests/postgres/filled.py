"""One tenant with something in every table."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import asyncpg

from convostore.models import Channel
from convostore.postgres import (
    PostgresAuditStore,
    PostgresConfigStore,
    PostgresMemoryStore,
    PostgresProfileStore,
    PostgresSessionStore,
)
from convostore.postgres.database import Database
from convostore.testing import factories
from convostore.testing.config.rows import CONFIG_ROWS


async def fill(pool: asyncpg.Pool[Any], tenant: UUID | None = None) -> UUID:
    """Store one of everything for a new tenant, or this one, and return the tenant."""
    tenant, agent = tenant or uuid4(), uuid4()
    config, memory, audit = PostgresConfigStore(pool), PostgresMemoryStore(pool), PostgresAuditStore(pool)
    for rows in CONFIG_ROWS:
        await rows.save(config, rows.full(tenant, agent))
    await config.archive_scenario_version(tenant, factories.full_scenario(tenant, agent))
    source, target = factories.full_entity(tenant, agent), factories.make_entity(tenant, agent)
    episode = factories.full_episode(tenant, agent)
    await memory.add_episode(episode)
    await memory.add_embeddings(tenant, "another", {episode.id: [1.0]})
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT convostore.bind($1)", tenant)
        # Of a space that no episode is in, so that there need not be a table.
        await connection.execute("INSERT INTO convostore.large_space VALUES ($1, 4000, false)", tenant)
    await memory.add_entity(source)
    await memory.add_entity(target)
    await memory.add_relationship(factories.full_relationship(source, target))
    await audit.save_turn(factories.full_turn(tenant))
    await audit.save_event(factories.full_event(tenant))
    profiles, merged, kept = PostgresProfileStore(pool), factories.make_profile(tenant), factories.full_profile(tenant)
    for profile in (merged, kept):
        await profiles.save_profile(profile)
    await profiles.merge_profiles(tenant, merged.id, kept.id)
    sessions = PostgresSessionStore(pool, sessions_by_tenant=await Database(pool).is_distributed())
    await sessions.save(factories.full_session(tenant))
    await sessions.get_or_create(tenant, uuid4(), Channel.SMS, "ann")
    await sessions.invalidate_copies(tenant)
    return tenant
