"""What a call reads does not grow with what its tenant has beside, although most tenants have next to nothing.

A server plans a statement once for all tenants, by what a tenant has on average. If that is one row, it is as good to
read all that a tenant has as to look a row up, and one large tenant would pay for all the small ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.call.store import Store
from convostore.embedded import Embedded
from convostore.postgres import PostgresAuditStore, create_pool, migrate
from convostore.testing.factories import make_event, make_turn
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
        before = await self._read()
        try:
            yield
        finally:
            key = f"{store.kind}.{call.method}", call.case
            self.found[key] = self.found.get(key, Counter()) | (await self._read() - before)

    async def _read(self) -> Counter[str]:
        for each in (self._admin, *self._pools):
            await each.execute("SELECT pg_stat_force_next_flush()")
        return Counter(dict(await self._admin.fetch(READ)))


@pytest.mark.slow
async def test_what_a_call_reads_does_not_grow_with_its_tenant(
    server: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    generic = {"plan_cache_mode": "force_generic_plan"}
    async with fresh_database(server.postgres_dsn) as dsn:
        await migrate(dsn)
        async with (
            await create_pool(dsn, max_size=1, settings=generic) as pool,
            await create_pool(dsn, max_size=1, settings=generic, role="convostore_maintenance") as maintenance,
            connected(dsn, session_replication_role="replica") as admin,
        ):
            for (statement,) in await admin.fetch(WITHOUT_AUTOVACUUM):
                await admin.execute(statement)
            await multiply(admin, [await fill(pool)], range(1, OTHERS + 1))
            large = await fill(pool)
            await PostgresAuditStore(pool).save_turns([make_turn(large) for _ in range(OWN)])
            await PostgresAuditStore(pool).save_events([make_event(large) for _ in range(OWN)])
            await multiply(admin, [large], range(1, OWN), into=large)
            await admin.execute("DELETE FROM convostore.episode_embedding WHERE tenant_id = $1", large)
            await admin.execute(WITHOUT_EMBEDDINGS, large)
            await admin.execute(VALUES)
            await admin.execute(PROFILES)
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
