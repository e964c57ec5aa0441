"""What a call reads does not grow with what its tenant has beside, although most tenants have next to nothing.

A server plans a statement once for all tenants, by what a tenant has on average. If that is one row, it is as good to
read all that a tenant has as to look a row up, and one large tenant would pay for all the small ones.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.call.store import Store
from convostore.embedded import Embedded
from convostore.postgres import (
    PostgresAuditStore,
    PostgresConfigStore,
    PostgresMemoryStore,
    PostgresProfileStore,
    PostgresSessionStore,
    create_pool,
    migrate,
)
from convostore.testing.factories import (
    make_entity,
    make_episode,
    make_event,
    make_profile,
    make_relationship,
    make_rule,
    make_session,
    make_turn,
)
from tests.postgres.databases import connected, fresh_database
from tests.postgres.filled import fill
from tests.postgres.test_growth import call_everything
from tests.postgres.test_plans import multiply
from tests.round_trips import calls
from tests.round_trips.metering import Measured

OTHERS, OWN = 6_000, 400
"""How many tenants have one row of each kind, and how many the large one has."""

OTHER_ROWS = 20
"""Rows that one run may read more than another: dead versions, other plans of small tables."""
PAGE = 100
"""How many items a list has at most."""

WHOLE = {
    *("config.get_agents", "config.list_migration_plans", "memory.get_episodes_to_embed", "memory.switch_embeddings"),
    *("profile.expire_stale_fields", "audit.export", "audit.verify"),
}
"""What counts, finds or works through all that its tenant has, beside streams."""

GENERIC = {"plan_cache_mode": "force_generic_plan"}

READ = """
SELECT t.relname::text, t.seq_tup_read + coalesce(sum(i.idx_tup_read), 0)::bigint
FROM pg_stat_user_tables AS t LEFT JOIN pg_stat_user_indexes AS i USING (relid)
GROUP BY t.relid, t.relname, t.seq_tup_read
"""
"""Rows and index entries that scans have read of each table."""

WITHOUT_AUTOVACUUM = """
SELECT format('ALTER TABLE %s SET (autovacuum_enabled = false)', oid::regclass) FROM pg_class
WHERE relnamespace = 'convostore'::regnamespace AND relkind = 'r'
"""

WITHOUT_EMBEDDINGS = "UPDATE convostore.episode SET embedding = NULL, embedding_model = NULL WHERE tenant_id = $1"
"""So that none is in the way of a move to the embeddings of the calls."""
VALUES = "UPDATE convostore.profile_field SET value = to_jsonb(id)"
PROFILES = """
INSERT INTO convostore.profile (
    tenant_id, id, customer_id, consents, verification_level, created_at, updated_at, revision)
SELECT md5(n::text)::uuid, md5('p' || n)::uuid, md5('p' || n)::uuid, '[]', 'unverified', now(), now(), 1
FROM generate_series(1, 100000) AS n
"""
"""Of a smaller table the server may rather sort what a tenant has than read a page of it in order."""


class Reads:
    """Counts the rows that each call reads of each table."""

    def __init__(self, admin: Any, *pools: Any) -> None:
        self.found: dict[tuple[str, str], Counter[str]] = {}
        self._admin = admin
        self._pools = pools

    @asynccontextmanager
    async def measuring(self, call: Measured, store: Store) -> AsyncIterator[None]:
        """Count what is read during a block."""
        before = await self.read()
        try:
            yield
        finally:
            key = f"{store.kind}.{call.method}", call.case
            self.found[key] = self.found.get(key, Counter()) | (await self.read() - before)

    async def read(self) -> Counter[str]:
        """Return the rows and index entries that were read of each table so far."""
        for each in (self._admin, *self._pools):
            await each.execute("SELECT pg_stat_force_next_flush()")
        return Counter(dict(await self._admin.fetch(READ)))


@pytest.fixture
async def database(server: Embedded) -> AsyncIterator[tuple[str, Any]]:
    """The DSN of a database in which many tenants have one row of each kind, and an administrator's connection."""
    async with fresh_database(server.postgres_dsn) as dsn:
        await migrate(dsn)
        async with connected(dsn, session_replication_role="replica") as admin, await create_pool(dsn) as pool:
            for (statement,) in await admin.fetch(WITHOUT_AUTOVACUUM):
                await admin.execute(statement)
            await multiply(admin, [await fill(pool)], range(1, OTHERS + 1))
            await admin.execute(PROFILES)
            yield dsn, admin


@pytest.mark.slow
async def test_what_a_call_reads_does_not_grow_with_its_tenant(
    database: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn, admin = database
    async with (
        await create_pool(dsn, max_size=1, settings=GENERIC) as pool,
        await create_pool(dsn, max_size=1, settings=GENERIC, role="convostore_maintenance") as maintenance,
    ):
        large = await fill(pool)
        await PostgresAuditStore(pool).save_turns([make_turn(large) for _ in range(OWN)])
        await PostgresAuditStore(pool).save_events([make_event(large) for _ in range(OWN)])
        await multiply(admin, [large], range(1, OWN), into=large)
        await admin.execute("DELETE FROM convostore.episode_embedding WHERE tenant_id = $1", large)
        await admin.execute(WITHOUT_EMBEDDINGS, large)
        await admin.execute(VALUES)
        await admin.execute("VACUUM ANALYZE")

        async def reads(tenant: UUID) -> dict[tuple[str, str], Counter[str]]:
            monkeypatch.setattr(calls, "new_tenant", lambda: tenant)
            read = Reads(admin, pool, maintenance)
            await call_everything(pool, maintenance, read)
            return read.found

        few, many = await reads(uuid4()), await reads(large)
    assert few.keys() == many.keys()
    grown = {key: many[key] - few[key] for key in many}
    too_many = {
        (method, case): more
        for (method, case), more in grown.items()
        if max(more.values(), default=0) > (2 * PAGE if ".list_" in method else OTHER_ROWS) and ".iter_" not in method
    }
    assert {method for method, _ in too_many} == WHOLE, too_many


FEW, MANY = 10, 500
"""How many items a page has, and how many there are."""


@pytest.mark.slow
async def test_a_page_behind_a_cursor_reads_no_more_than_itself(database: tuple[str, Any]) -> None:
    dsn, admin = database
    async with await create_pool(dsn, max_size=1, settings=GENERIC) as pool:
        tenant, agent, customer, session = *(uuid4() for _ in range(3)), UUID(int=1)
        config, memory, audit = PostgresConfigStore(pool), PostgresMemoryStore(pool), PostgresAuditStore(pool)
        profiles, sessions = PostgresProfileStore(pool), PostgresSessionStore(pool)
        of = {"agent_id": agent, "customer_profile_id": customer}
        entities = [make_entity(tenant, agent) for _ in range(MANY)]
        await memory.add_episodes([make_episode(tenant, **of, session_id=session) for _ in range(MANY)])
        await memory.add_entities(entities)
        await memory.add_relationships([make_relationship(*pair) for pair in pairwise(entities)])
        await config.save_rules([make_rule(tenant, agent, name=f"{n}") for n in range(MANY)])
        await audit.save_turns([make_turn(tenant, session_id=session, turn_number=n + 1) for n in range(MANY)])
        await audit.save_turns([make_turn(tenant) for _ in range(MANY)])
        await audit.save_events([make_event(tenant) for _ in range(MANY)])
        await asyncio.gather(*(sessions.save(make_session(tenant, **of)) for _ in range(MANY)))
        await asyncio.gather(*(profiles.save_profile(make_profile(tenant)) for _ in range(MANY)))
        await admin.execute("VACUUM ANALYZE")
        lists: list[Callable[..., Awaitable[list[Any]]]] = [
            partial(config.get_rules, tenant, agent),
            partial(memory.get_episodes, tenant, agent),
            partial(memory.get_episodes, tenant, agent, customer_profile_id=customer),
            partial(memory.get_entities, tenant, agent),
            partial(memory.get_relationships, tenant, agent),
            partial(sessions.list_by_agent, tenant, agent),
            partial(sessions.list_by_customer, tenant, customer),
            partial(profiles.list_profiles, tenant),
            partial(audit.list_turns_by_tenant, tenant),
            partial(audit.list_turns_by_session, tenant, session),
            partial(audit.list_events, tenant),
            partial(audit.list_records, tenant),
            partial(audit.list_bodies, tenant),
            partial(audit.list_heads, tenant),
        ]
        read = Reads(admin, pool)
        for each in lists:
            _, last = await each(limit=2)  # Of heads the second is that of the long chain.
            before = await read.read()
            page = await each(after=last, limit=FEW)
            rows = await read.read() - before
            assert len(page) == FEW, each
            assert max(rows.values()) <= 3 * FEW, (each, rows)
