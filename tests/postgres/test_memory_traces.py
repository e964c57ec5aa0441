"""What was forgotten leaves nothing behind: no row in any table and, after a vacuum, no entry in any index."""

from __future__ import annotations

import json
from itertools import pairwise, zip_longest
from typing import Any
from uuid import UUID, uuid4

from convostore.embedded import Embedded
from convostore.postgres import PostgresMemoryStore, create_pool, migrate
from convostore.testing.factories import full_entity, full_episode, full_relationship
from tests.postgres.databases import connected, fresh_database

SAMPLED = """
SELECT id FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, 50_000)) AS g
WHERE (uuid_hash_extended(id, 0) & 255) = 0 LIMIT 50
"""
"""Ids of episodes that `episode_sample_idx` has."""


async def entries(admin: Any, table: str, index: str, condition: str) -> int:
    """Return how many entries an index gives for a condition that holds for all rows, dead ones included."""
    plan = await admin.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) SELECT 1 FROM convostore.{table} WHERE {condition}")
    scan = json.loads(plan)[0]["Plan"]["Plans"][0]
    assert scan["Index Name"] == index
    return int(scan["Actual Rows"])


async def traces(admin: Any, tenant: UUID) -> dict[str, int]:
    """Return the rows of each table of memory, and the entries of each of its indexes."""
    found = {
        table: await admin.fetchval(f"SELECT count(*) FROM convostore.{table}")
        for table in ("episode", "entity", "relationship")
    }
    await admin.execute("SET enable_seqscan = off; SET enable_indexscan = off; SET enable_indexonlyscan = off")
    mine = f"tenant_id = '{tenant}'"
    for table in found.copy():
        await admin.execute("BEGIN")
        indexes = await admin.fetch(
            "SELECT indexname, coalesce(pg_get_expr(indpred, indrelid), 'true') "
            "FROM pg_indexes JOIN pg_index ON indexrelid = format('convostore.%I', indexname)::regclass "
            "WHERE schemaname = 'convostore' AND tablename = $1 AND indexdef LIKE '%btree%'",
            table,
        )
        for index, predicate in indexes:
            # Each in turn: the planner takes the only one there is.
            await admin.execute("SAVEPOINT one")
            for other, _ in indexes:
                if other != index:
                    await admin.execute(
                        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = $1::regclass", f"convostore.{other}"
                    )
            found[index] = await entries(admin, table, index, f"{mine} AND {predicate}")
            await admin.execute("ROLLBACK TO one")
        await admin.execute("ROLLBACK")
    found["words"] = await entries(admin, "episode", "episode_words_idx", "words @@ 'tea | bonn'::tsquery")
    return found


async def test_nothing_is_left_of_a_group_and_of_a_customer(engines: Embedded) -> None:
    async with fresh_database(engines.postgres_dsn) as dsn:
        await migrate(dsn)
        async with await create_pool(dsn, max_size=1) as pool, connected(dsn) as admin:
            store, tenant, agent, group, customer = PostgresMemoryStore(pool), uuid4(), uuid4(), uuid4(), uuid4()
            both = {"group_id": group, "customer_profile_id": customer}
            episodes = [
                full_episode(tenant, agent).model_copy(update={**both, "id": id, "content": "tea"})
                for (id,) in await admin.fetch(SAMPLED)
            ]
            for episode in episodes[::2]:
                episode.embedding = [1.0] * 2_000
            entities = [full_entity(tenant, agent).model_copy(update=both) for _ in range(20)]
            edges = [full_relationship(a, b) for a, b in pairwise(entities)]
            for forget, wanted in ((store.delete_by_group, group), (store.delete_by_customer, customer)):
                for entity, edge in zip_longest(entities, edges, fillvalue=edges[0]):
                    entity.revision = edge.revision = 0
                await store.add_episodes(episodes)
                await store.add_entities(entities)
                await store.add_relationships(edges)
                assert min((await traces(admin, tenant)).values()) >= 19
                assert await forget(tenant, wanted) == 50 + 20 + 19
                await admin.execute("VACUUM convostore.episode")
                await admin.execute("VACUUM convostore.entity")
                await admin.execute("VACUUM convostore.relationship")
                assert set((await traces(admin, tenant)).values()) == {0}
