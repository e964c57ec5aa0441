"""Texts that an earlier release has stored are found as they look after `reindex-text`, which can be broken off."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.embedded import Embedded
from convostore.postgres import PostgresConfigStore, PostgresMemoryStore, create_pool
from convostore.postgres.pool import MAINTENANCE_ROLE
from convostore.postgres.text_reindexing import KINDS, Cursor, read, read_cursor, reindex_text, stale, write
from convostore.testing.factories import make_entity, make_rule
from tests.postgres.conftest import Pool
from tests.postgres.query_blocks import unbound, unnamed

STORED = """
INSERT INTO convostore.episode (
    tenant_id, id, agent_id, group_id, customer_profile_id, content, content_type, source, language, importance,
    entity_ids, metadata, occurred_at, recorded_at)
SELECT $1, gen_random_uuid(), $2, gen_random_uuid(), $3, content, 'message', 'user', 'simple', 0.5,
    '{}', '{}', now(), now()
FROM unnest($4::text[]) AS content
"""
"""As the release stores episodes that knows no `search_text`."""

TEXTS = {
    "ﾊﾟｽﾎﾟｰﾄをなくした": "パスポート",
    "今天玩成语接龙游戏": "成语接龙",
    "a cafe\N{COMBINING ACUTE ACCENT} in Bonn": "café",
    "soft\N{SOFT HYPHEN}ware": "software",
    "party \N{PARTY POPPER}": "\N{PARTY POPPER}",
}
"""Contents, and queries that they were not found by."""


@pytest.fixture(scope="module")
async def maintenance(server: Embedded) -> AsyncIterator[Pool]:
    async with await create_pool(server.postgres_dsn, max_size=1, role=MAINTENANCE_ROLE) as pool:
        yield pool


async def found(pool: Pool, tenant: UUID, agent: UUID, **only: Any) -> list[str]:
    """Return the contents that their queries find."""
    store = PostgresMemoryStore(pool, timeout=60)
    searches = [await store.text_search_episodes(query, tenant, agent, limit=100, **only) for query in TEXTS.values()]
    return [episode.content for episodes in searches for episode in episodes]


async def test_texts_of_an_earlier_release_are_found_as_they_look(pool: Pool, admin: Any, maintenance: Pool) -> None:
    tenant, other, agent, customer = (uuid4() for _ in range(4))
    for each in (tenant, other):
        await admin.execute(STORED, each, agent, customer, [*TEXTS, "Plain words, in Bonn."])
    assert await found(pool, tenant, agent) == []
    (done,) = [batch async for batch in reindex_text(maintenance, [tenant])]
    assert (done.rows, done.changed) == (6, 5)
    assert await found(pool, tenant, agent) == [*TEXTS]
    assert await found(pool, tenant, agent, customer_profile_id=customer) == [*TEXTS]
    assert await found(pool, other, agent) == []
    (again,) = [batch async for batch in reindex_text(maintenance, [tenant])]
    assert (again.rows, again.changed) == (6, 0)


async def test_a_run_that_was_broken_off_goes_on_at_its_cursor(pool: Pool, admin: Any, maintenance: Pool) -> None:
    tenant, agent = uuid4(), uuid4()
    await admin.execute(STORED, tenant, agent, None, [*TEXTS] * 5)
    async with aclosing(reindex_text(maintenance, [tenant], batch=10)) as batches:
        first = await anext(batches)
    assert (first.rows, first.changed) == (10, 10)
    assert len(await found(pool, tenant, agent)) == 10
    rest = [batch async for batch in reindex_text(maintenance, [tenant], after=first.after, batch=10)]
    assert [(batch.rows, batch.changed) for batch in rest] == [(10, 10), (5, 5)]
    assert sorted(await found(pool, tenant, agent)) == sorted([*TEXTS] * 5)
    assert sum([batch.changed async for batch in reindex_text(maintenance, [tenant])]) == 0


async def test_a_long_text_is_indexed_anew(pool: Pool, admin: Any, maintenance: Pool) -> None:
    tenant, agent = uuid4(), uuid4()
    await admin.execute(STORED, tenant, agent, None, ["ﾊﾟｽﾎﾟｰﾄ " + "long " * 30_000])
    (done,) = [batch async for batch in reindex_text(maintenance, [tenant])]
    assert done.changed == 1
    assert len(await found(pool, tenant, agent)) == 1


async def test_without_tenants_those_of_every_tenant_are_and_a_cursor_goes_on_among_them(
    pool: Pool, admin: Any, maintenance: Pool
) -> None:
    agent = uuid4()
    # The last of all tenants, so that those of other tests are not looked at.
    first, second, third = (UUID(int=2**128 - number) for number in (4, 3, 2))
    for tenant in (first, second):
        await admin.execute(STORED, tenant, agent, None, [*TEXTS])
    await PostgresMemoryStore(pool).add_entity(make_entity(third, agent, name="ÄPFEL GmbH"))
    before = Cursor(first, "rule", UUID(int=0))
    async with aclosing(reindex_text(maintenance, after=before, batch=3)) as batches:
        cursor = (await anext(batches)).after
    rest = [batch async for batch in reindex_text(maintenance, after=read_cursor(str(cursor)), batch=3)]
    assert [(batch.after.tenant_id, batch.after.kind, batch.rows, batch.changed) for batch in rest] == [
        (first, "episode", 2, 2),
        (second, "episode", 3, 3),
        (second, "episode", 2, 2),
        (third, "entity", 1, 0),
    ]
    for tenant in (first, second):
        assert await found(pool, tenant, agent) == [*TEXTS]
    async with aclosing(reindex_text(maintenance, batch=1)) as batches:
        assert (await anext(batches)).after.tenant_id <= first


async def test_tenants_are_found_by_one_row_of_an_index_for_each_whatever_they_have(admin: Any) -> None:
    body = await admin.fetchval("SELECT pg_get_function_sqlbody('convostore.text_tenants'::regproc)")
    statement = body.removeprefix("BEGIN ATOMIC").removesuffix("END").strip().removesuffix(";")
    async with admin.transaction():
        await admin.execute("SET LOCAL enable_seqscan = off")
        plan = "\n".join(line for (line,) in await admin.fetch(f"EXPLAIN {statement}"))
    assert [kind for kind in KINDS if plan.count(f"Index Only Scan using {kind}_") != 2] == []
    assert (plan.count("Sort Key"), plan.count("Merge Append"), plan.count("Limit")) == (2, 2, 2)
    assert len(re.findall(r"Index Cond: \(tenant_id > \w+\.id\)", plan)) == len(KINDS)


BEFORE = "UPDATE convostore.{0} SET {1} = $2 || {1} WHERE tenant_id = $1"
"""As the release saves names and conditions that knows no `search_text`: it leaves no words."""


async def add_old(pool: Pool, admin: Any, tenant: UUID, agent: UUID) -> None:
    """Store a rule, an episode and an entity, none of which is found as it looks."""
    await PostgresConfigStore(pool).save_rule(make_rule(tenant, agent, condition_text="ﾊﾟｽﾎﾟｰﾄ"))
    await PostgresMemoryStore(pool).add_entity(make_entity(tenant, agent, name="ÄPFEL GmbH"))
    for table, column in (("rule", "condition_text"), ("entity", "name")):
        await admin.execute(BEFORE.format(table, column), tenant, "\N{SOFT HYPHEN}")
    await admin.execute(STORED, tenant, agent, None, ["ﾊﾟｽﾎﾟｰﾄ"])


async def old_found(pool: Pool, tenant: UUID, agent: UUID) -> list[int]:
    """Return how many rules, episodes and entities are found."""
    config, memory = PostgresConfigStore(pool), PostgresMemoryStore(pool)
    return [
        len(await config.search_rules("パスポート", [1.0], tenant, agent)),
        len(await memory.text_search_episodes("パスポート", tenant, agent)),
        len(await memory.find_entities(tenant, agent, name="äpfel")),
    ]


async def test_rules_and_entities_of_an_earlier_release_are_found_too(
    pool: Pool, admin: Any, maintenance: Pool
) -> None:
    tenant, agent = uuid4(), uuid4()
    await add_old(pool, admin, tenant, agent)
    assert await old_found(pool, tenant, agent) == [0, 0, 0]
    revisions = "SELECT revision FROM convostore.rule WHERE tenant_id = $1"
    before = await admin.fetch(revisions, tenant)
    async with aclosing(reindex_text(maintenance, [tenant])) as batches:
        first = await anext(batches)
    assert (first.after.kind, first.rows, first.changed) == ("rule", 1, 1)
    assert await old_found(pool, tenant, agent) == [1, 0, 0]
    rest = [batch async for batch in reindex_text(maintenance, [tenant], after=first.after)]
    assert [(batch.after.kind, batch.rows, batch.changed) for batch in rest] == [("episode", 1, 1), ("entity", 1, 1)]
    assert await old_found(pool, tenant, agent) == [1, 1, 1]
    assert [batch.changed async for batch in reindex_text(maintenance, [tenant])] == [0, 0, 0]
    assert [batch async for batch in reindex_text(maintenance, [tenant], after=rest[-1].after)] == []
    assert await admin.fetch(revisions, tenant) == before


async def test_a_name_that_has_changed_meanwhile_keeps_what_it_is_found_by(
    pool: Pool, admin: Any, maintenance: Pool
) -> None:
    tenant, agent = uuid4(), uuid4()
    await add_old(pool, admin, tenant, agent)
    key = await admin.fetchval("SELECT id FROM convostore.entity WHERE tenant_id = $1", tenant)
    changed = await maintenance.fetchval(write(KINDS["entity"]), tenant, [key], ["another"], ["another another "])
    assert changed == 0
    assert await PostgresMemoryStore(pool).find_entities(tenant, agent, name="another") == []


@pytest.mark.parametrize("kind", KINDS)
def test_its_statements_bind_every_table_to_the_tenant(kind: str) -> None:
    for statement in (read(KINDS[kind]), write(KINDS[kind]), stale(KINDS[kind])):
        assert (unbound(statement), unnamed(statement)) == ([], [])
