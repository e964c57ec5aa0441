"""Sweeps, purges and the search for large spaces read what they concern: rows and pages, without a clock."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from convostore.embedded import Embedded
from convostore.models.fields import now
from convostore.postgres import PostgresConfigStore, PostgresMemoryStore, PostgresProfileStore, create_pool, migrate
from convostore.postgres.distribution import prepare
from convostore.postgres.purging import expire, purge
from convostore.postgres.queries import queries
from convostore.postgres.reindexing import tenants_with_embeddings
from convostore.testing.factories import at, make_agent, make_episode, make_field, make_profile, make_template
from tests.postgres.databases import connected, fresh_database
from tests.postgres.filled import fill
from tests.postgres.test_plans import multiply

SPACE = 6_000
"""Episodes of a space that a sample can tell of."""

EPISODES = """
INSERT INTO convostore.episode (
    tenant_id, id, agent_id, group_id, content, content_type, source, language, embedding, importance, entity_ids,
    metadata, occurred_at, recorded_at, words)
SELECT g.tenant, md5(g.tenant::text || n)::uuid, g.tenant, g.tenant, '', 'text', 'user', 'simple',
    ARRAY[1, n % 7, 3]::real[]::vector, 0, '{}', '{}', now(), now(), ''
FROM (SELECT $1::uuid AS tenant) AS g, generate_series(1, $2::integer) AS n
"""
PROFILES = """
INSERT INTO convostore.profile (
    tenant_id, id, customer_id, consents, verification_level, created_at, updated_at, revision)
SELECT $1, md5('p' || n)::uuid, md5('p' || n)::uuid, '[]', 'unverified', now(), now(), 1
FROM generate_series(1, 2000) AS n
"""

LATER = "UPDATE convostore.template SET deleted_at = deleted_at + interval '1 day' WHERE tenant_id = $1"

NOTHING_DUE = {
    "a sweep": "SELECT * FROM convostore.old_sessions('2000-01-01', 1000)",
    "a purge of all tenants": "SELECT * FROM convostore.tenants_to_purge('2000-01-01')",
    "the expiry of fields": "SELECT * FROM convostore.tenants_with_stale_fields('1990-01-01')",
}


@pytest.fixture
async def dsn(server: Embedded) -> AsyncIterator[str]:
    """The DSN of a migrated database of its own."""
    async with fresh_database(server.postgres_dsn) as dsn:
        await migrate(dsn)
        yield dsn


@pytest.fixture
async def admin(dsn: str) -> AsyncIterator[Any]:
    async with connected(dsn, session_replication_role="replica") as connection:
        yield connection


@pytest.fixture
async def keeper(dsn: str) -> AsyncIterator[asyncpg.Pool[Any]]:
    """A pool of the maintenance role."""
    async with await create_pool(dsn, max_size=1, role="convostore_maintenance") as pool:
        yield pool


async def explained(connection: Any, statement: str, *arguments: Any) -> dict[str, Any]:
    """Return the plan of a statement, run."""
    found = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", *arguments)
    plan: dict[str, Any] = json.loads(found)[0]["Plan"]
    return plan


def pages(plan: dict[str, Any]) -> int:
    """Return how many pages a plan read."""
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def scanned(plan: dict[str, Any], table: str) -> float:
    """Return the most rows of a table that a scan of a plan returned or left out."""
    inner = max((scanned(each, table) for each in plan.get("Plans", [])), default=0.0)
    own = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0) if plan.get("Relation Name") == table else 0.0
    return max(inner, own)


def indexes(plan: dict[str, Any]) -> set[str]:
    """Return the indexes that a plan uses."""
    found = {plan["Index Name"]} if "Index Name" in plan else set()
    return found.union(*map(indexes, plan.get("Plans", [])))


@pytest.mark.slow
@pytest.mark.parametrize("distributed", [False, True], ids=["one server", "distributed"])
async def test_upkeep_with_nothing_due_reads_as_much_beside_ten_times_as_many_tenants(
    dsn: str, admin: Any, *, distributed: bool
) -> None:
    async with await create_pool(dsn, max_size=1) as pool:
        filled = [await fill(pool)]
    if distributed:
        await prepare(admin)
    read: list[dict[str, int]] = []
    for others in (range(1, 201), range(201, 2_001)):
        await multiply(admin, filled, others)
        await admin.execute("VACUUM ANALYZE")
        for statement in NOTHING_DUE.values():
            await admin.fetch(statement)  # looks up what the functions name
        read.append({what: pages(await explained(admin, statement)) for what, statement in NOTHING_DUE.items()})
    # A page for each level of an index, of which one may have been added; of eight and a profile's in a purge.
    # A join is planned by the ends of its indexes.
    for what, most in (("a sweep", 5), ("the expiry of fields", 20 if distributed else 5)):
        assert read[1][what] <= read[0][what] + 1 <= most, read
    assert read[1]["a purge of all tenants"] <= read[0]["a purge of all tenants"] <= 3 * 9, read


async def deleted(pool: asyncpg.Pool[Any], tenant: UUID, templates: int) -> None:
    """Delete an agent with its templates, and a profile with one merged into it; leave one of each."""
    config, profiles = PostgresConfigStore(pool), PostgresProfileStore(pool)
    gone, kept = make_agent(tenant), make_agent(tenant)
    await config.save_agents([gone, kept])
    for agent in (gone, kept):
        await config.save_templates([make_template(tenant, agent.id) for _ in range(templates)])
    await config.delete_agent(tenant, gone.id)
    merged, target, living, source = (make_profile(tenant) for _ in range(4))
    for profile in (merged, target, living, source):
        await profiles.save_profile(profile)
    await profiles.merge_profiles(tenant, merged.id, target.id)
    await profiles.delete_profile(tenant, target.id)
    await profiles.merge_profiles(tenant, source.id, living.id)


async def test_a_purge_visits_the_tenants_that_have_something_and_goes_on_where_one_ended(
    dsn: str, admin: Any, keeper: asyncpg.Pool[Any]
) -> None:
    tenants = [uuid4() for _ in range(3)]
    async with await create_pool(dsn, max_size=1) as pool:
        for tenant in tenants:
            await deleted(pool, tenant, templates=5)
        await deleted(pool, later := UUID(int=2**128 - 1), templates=1)
        await admin.execute(
            "UPDATE convostore.template SET deleted_at = deleted_at + interval '1 day' WHERE tenant_id = $1 "
            "AND deleted_at IS NOT NULL",
            later,
        )
    before = now()
    interrupted = purge(keeper, before=before, batch=2)
    # The agent and two of its templates, and a profile with the one merged into it.
    assert await anext(interrupted) == 5
    await interrupted.aclose()
    rest = [purged async for purged in purge(keeper, before=before, batch=2)]
    assert 5 + sum(rest) == 3 * (1 + 5 + 2) + 1 + 2
    assert max(rest) == 5
    assert [purged async for purged in purge(keeper, before=before)] == []
    assert [purged async for purged in purge(keeper, before=now() + timedelta(days=2))] == [1]
    for name, left in (("agent", 4), ("template", 3 * 5 + 1), ("profile", 2 * 4)):
        assert await admin.fetchval(f"SELECT count(*) FROM convostore.{name}") == left, name


async def test_fields_of_all_tenants_expire_in_batches_but_those_of_deleted_profiles(
    dsn: str, admin: Any, keeper: asyncpg.Pool[Any]
) -> None:
    async with await create_pool(dsn, max_size=1) as pool:
        store = PostgresProfileStore(pool)
        for tenant in (uuid4(), uuid4()):
            fields = {f"f{n}": make_field(f"f{n}", expires_at=at(n)) for n in range(5)}
            living, gone = (make_profile(tenant, fields=fields if n else {}) for n in (1, 0))
            for profile in (living, gone):
                await store.save_profile(profile)
            await store.update_field(tenant, gone.id, make_field("f", expires_at=at(0)))
            await store.delete_profile(tenant, gone.id)
        await store.save_profile(make_profile(uuid4(), fields={"f": make_field("f")}))
    interrupted = expire(keeper, at=at(3), batch=3)
    assert await anext(interrupted) == 3
    await interrupted.aclose()
    assert sorted([count async for count in expire(keeper, at=at(3), batch=3)]) == [1, 1, 3]
    assert [count async for count in expire(keeper, at=at(3), batch=3)] == []
    found = await admin.fetch("SELECT status, count(*) FROM convostore.profile_field GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in found] == [("active", 2 * (1 + 1) + 1), ("expired", 2 * 4)]


async def test_a_purge_reads_what_it_removes_however_much_a_tenant_keeps(
    dsn: str, admin: Any, keeper: asyncpg.Pool[Any]
) -> None:
    tenant = uuid4()
    async with await create_pool(dsn, max_size=1) as pool:
        await deleted(pool, tenant, templates=1_000)
    await admin.execute(PROFILES, tenant)
    # In a smaller table it is as good to read all that the tenant has.
    await multiply(admin, [tenant], range(1, 6))
    for file, name, index in (
        ("config", "purge_deleted", "template_deleted_at_idx"),
        ("profile", "purge_profiles", "profile_deleted_at_idx"),
    ):
        statement, *arguments = getattr(queries(file), name)(tenant_id=tenant, before=now(), limit=10)
        async with keeper.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
            plan = await explained(connection, statement, *arguments)
        assert index in indexes(plan)
        # Of 1,000 deleted templates and as many that are kept, and of 2,000 profiles.
        assert pages(plan) <= 150, name
        assert (index, max(scanned(plan, "template"), scanned(plan, "profile"))) == (
            index,
            10 if file == "config" else 2,
        )


async def test_spaces_are_large_by_a_sample_and_close_to_the_limit_by_counting(
    dsn: str, admin: Any, keeper: asyncpg.Pool[Any]
) -> None:
    large, close, small = (UUID(int=n) for n in (1, 2, 3))
    for tenant, episodes in ((large, 2 * SPACE + 2_000), (close, SPACE), (small, 50)):
        await admin.execute(EPISODES, tenant, episodes)
    await admin.execute("VACUUM ANALYZE")

    async def above(most: int) -> dict[UUID, int]:
        rows = await keeper.fetch("SELECT * FROM convostore.vector_spaces_above($1)", most)
        assert {row["dimensions"] for row in rows} <= {3}
        return {row["tenant_id"]: row["episodes"] for row in rows}

    assert (await above(SPACE)).keys() == {large}
    assert (await above(SPACE - 1)).keys() == {large, close}
    assert (await above(2 * SPACE + 2_000)).keys() == set()
    assert (await above(49)).keys() == {large, close, small}
    assert (await above(50)).keys() == {large, close}
    assert 10_000 < (await above(SPACE))[large] < 20_000
    assert await tenants_with_embeddings(dsn) == [large, close, small]


async def test_which_spaces_are_large_is_told_without_reading_them(admin: Any) -> None:
    for number in range(1, 11):
        await admin.execute(EPISODES, UUID(int=number), 1_000)
    await admin.execute("VACUUM ANALYZE")
    all_pages = await admin.fetchval("SELECT pg_relation_size('convostore.episode') / 8192")
    assert all_pages > 200
    for looking, found, most in (("vector_spaces_above(20000)", 0, 50), ("tenants_with_embeddings()", 10, 100)):
        statement = f"SELECT * FROM convostore.{looking}"
        await admin.fetch(statement)
        plan = await explained(admin, statement)
        assert (plan["Actual Rows"], pages(plan) <= most) == (found, True), (looking, pages(plan))


async def test_tenants_with_embeddings_are_those_that_have_any(dsn: str) -> None:
    tenant, without = uuid4(), uuid4()
    async with await create_pool(dsn, max_size=1) as pool:
        memory = PostgresMemoryStore(pool)
        await memory.add_episode(make_episode(tenant, tenant, embedding=[1.0, 2.0]))
        await memory.add_episode(make_episode(tenant, tenant, embedding=[1.0] * 1_500))
        await memory.add_episode(make_episode(without, without, embedding=None))
    assert await tenants_with_embeddings(dsn) == [tenant]


async def test_records_are_frozen_by_the_vacuum_that_follows_their_insertion(admin: Any) -> None:
    options = await admin.fetchval("SELECT reloptions FROM pg_class WHERE oid = 'convostore.audit_record'::regclass")
    assert sorted(options) == ["autovacuum_freeze_min_age=0", "autovacuum_vacuum_insert_scale_factor=0.02"]
