"""One tenant with something in every table."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import asyncpg

from convostore.postgres import (
    PostgresAuditStore,
    PostgresConfigStore,
    PostgresMemoryStore,
    PostgresProfileStore,
    PostgresSessionStore,
)
from convostore.testing import factories


async def fill(pool: asyncpg.Pool[Any]) -> UUID:
    """Store one of everything for a new tenant, and return the tenant."""
    tenant = uuid4()
    agent = factories.full_agent(tenant)
    config, memory, audit = PostgresConfigStore(pool), PostgresMemoryStore(pool), PostgresAuditStore(pool)
    scenario = factories.full_scenario(tenant, agent.id)
    await config.save_agent(agent)
    await config.save_rule(factories.full_rule(tenant, agent.id))
    await config.save_scenario(scenario)
    await config.archive_scenario_version(tenant, scenario)
    await config.save_template(factories.full_template(tenant, agent.id))
    await config.save_variable(factories.full_variable(tenant, agent.id))
    await config.save_tool_activation(factories.full_tool_activation(tenant, agent.id))
    await config.save_migration_plan(factories.full_migration_plan(tenant))
    source, target = factories.full_entity(tenant, agent.id), factories.make_entity(tenant, agent.id)
    episode = factories.full_episode(tenant, agent.id)
    await memory.add_episode(episode)
    await memory.add_embeddings(tenant, "another", {episode.id: [1.0]})
    await memory.add_entity(source)
    await memory.add_entity(target)
    await memory.add_relationship(factories.full_relationship(source, target))
    await audit.save_turn(factories.full_turn(tenant))
    await audit.save_event(factories.full_event(tenant))
    profiles, merged, kept = PostgresProfileStore(pool), factories.make_profile(tenant), factories.full_profile(tenant)
    for profile in (merged, kept):
        await profiles.save_profile(profile)
    await profiles.merge_profiles(tenant, merged.id, kept.id)
    sessions = PostgresSessionStore(pool)
    await sessions.save(factories.full_session(tenant))
    await sessions.invalidate_copies(tenant)
    return tenant
