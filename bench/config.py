"""Configuration: reads, a list and saves on PostgreSQL against asyncpg."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any
from uuid import UUID, uuid4

from bench.data import Vectors, columns, spread
from bench.engines import SPREAD, TENANTS, Engines
from bench.harness import Operation, Way
from convostore.models import Agent, Rule
from convostore.models.fields import now
from convostore.postgres import PostgresConfigStore
from convostore.testing.factories import make_agent, make_rule

_LISTED = 200


def _agent(tenant: UUID) -> Agent:
    return make_agent(tenant, description="Sells tea.", system_prompt="Be kind. " * 50, metadata={"team": "tea"})


def _rule(tenant: UUID) -> Rule:
    return make_rule(tenant, uuid4(), description="About tea.", attached_tool_ids=["crm", "shop"])


async def agent_alone(engines: Engines) -> Operation:
    return await _agent_get(engines, "agent get by id, alone", goal=1.0, concurrency=1)


async def agent(engines: Engines) -> Operation:
    return await _agent_get(engines, "agent get by id, 64 concurrent", goal=0.4, concurrency=64)


async def _agent_get(engines: Engines, title: str, *, goal: float, concurrency: int) -> Operation:
    store, pool = PostgresConfigStore(engines.pool), engines.bare_pool
    agents = spread(_agent)
    for item in (item for items in agents.values() for item in items):
        await store.save_agent(item)
    ids = {tenants: [(item.tenant_id, item.id) for item in items] for tenants, items in agents.items()}
    select = f"SELECT {columns(Agent)} FROM convostore.agent WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL"

    async def call(key: tuple[UUID, UUID]) -> Agent | None:
        return await store.get_agent(*key)

    async def bare(key: tuple[UUID, UUID]) -> Agent | None:
        row = await pool.fetchrow(select, *key)
        return Agent.model_validate(dict(row)) if row else None

    inputs = ids.__getitem__
    return Operation(
        title, goal, Way(call, inputs), Way(bare, inputs), concurrency, agree=lambda a, b: bool(a and a == b)
    )


async def rules(engines: Engines) -> Operation:
    return await _rules(engines, f"list of {_LISTED} rules", lambda: None)


async def rules_embedded(engines: Engines) -> Operation:
    return await _rules(engines, f"list of {_LISTED} rules with embeddings", Vectors().floats)


async def _rules(engines: Engines, title: str, embedding: Callable[[], list[float] | None]) -> Operation:
    store, pool = PostgresConfigStore(engines.pool), engines.bare_pool
    agents = {tenants: [(tenant, uuid4()) for tenant in TENANTS[:tenants]] for tenants in SPREAD}
    fields = tuple(Rule.model_fields)
    # Validated once: the constructor would take longer than everything else.
    prototype = _rule(TENANTS[0])
    made = (
        prototype.model_copy(
            update={
                "id": uuid4(),
                "tenant_id": tenant,
                "agent_id": agent_id,
                "name": f"rule {number}",
                "priority": number % 20,
                "revision": 1,
                "embedding": embedding(),
            }
        )
        for keys in agents.values()
        for tenant, agent_id in keys
        for number in range(_LISTED)
    )
    await pool.copy_records_to_table(
        "rule", schema_name="convostore", columns=fields, records=map(attrgetter(*fields), made)
    )
    await pool.execute("VACUUM ANALYZE convostore.rule")
    select = (
        f"SELECT {columns(Rule)} FROM convostore.rule WHERE tenant_id = $1 AND agent_id = $2 AND deleted_at IS NULL "
        "ORDER BY priority DESC, name, id"
    )

    async def call(key: tuple[UUID, UUID]) -> list[Rule]:
        return await store.get_rules(*key)

    async def bare(key: tuple[UUID, UUID]) -> Any:
        return await pool.fetch(select, *key)

    def same(listed: list[Rule], rows: Any) -> bool:
        return len(listed) == _LISTED and [item.__dict__ for item in listed] == [dict(row) for row in rows]

    def inputs(tenants: int) -> list[tuple[UUID, UUID]]:
        return [agents[tenants][number % tenants] for number in range(8)]

    return Operation(title, 1.6, Way(call, inputs), Way(bare, inputs), concurrency=1, agree=same)


async def save(engines: Engines) -> Operation:
    store, pool = PostgresConfigStore(engines.pool), engines.bare_pool
    saved, written = spread(_rule), spread(_rule)
    fields = tuple(Rule.model_fields)
    values = attrgetter(*fields)
    replaced = [name for name in fields if name not in ("tenant_id", "id", "created_at", "revision")]
    upsert = (
        f"INSERT INTO convostore.rule AS t ({columns(Rule)}) "
        f"VALUES ({', '.join(f'${number}' for number in range(1, len(fields) + 1))}) "
        f"ON CONFLICT (tenant_id, id) DO UPDATE SET revision = t.revision + 1, "
        f"{', '.join(f'{name} = excluded.{name}' for name in replaced)} "
        "WHERE t.revision = excluded.revision RETURNING t.revision"
    )

    async def bare(item: Rule) -> None:
        item.updated_at = now()
        revision = await pool.fetchval(upsert, *values(item))
        if revision is None:
            raise RuntimeError("conflict")
        item.revision = revision

    return Operation(
        "rule upsert, 64 concurrent",
        0.5,
        Way(store.save_rule, saved.__getitem__),
        Way(bare, written.__getitem__),
    )


OPERATIONS = {
    "agent-get-alone": agent_alone,
    "agent-get": agent,
    "rules-list": rules,
    "rules-list-embedded": rules_embedded,
    "rule-save": save,
}
