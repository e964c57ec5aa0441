"""Distributing a database that is filled, interrupted and repeated: every row and every word of it is kept.

Without Citus: `citus_stand_in.sql` does what Citus's source says that it does to the rows of a table. The database was
migrated and filled before, as one that gets the extension later.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from convostore.embedded import Embedded
from convostore.errors import StoreError
from convostore.postgres import (
    PostgresAuditStore,
    PostgresConfigStore,
    PostgresMemoryStore,
    create_pool,
    migrate,
    reindexing,
    spaces,
    vector_statements,
)
from convostore.postgres.distribution import DISTRIBUTED, REFERENCE, complete
from convostore.postgres.migrations import keep_session_ids
from convostore.postgres.overview import Overview
from convostore.postgres.reindexing import reindex
from convostore.testing.audit.retention import on
from convostore.testing.factories import make_entity, make_episode, make_rule, make_turn
from tests.docs.pages import DOCS, blocks
from tests.postgres.catalogue import catalogue
from tests.postgres.databases import connected, dsn_of, fresh_database, stand_in_for_citus
from tests.postgres.filled import fill

TENANT, AGENT = UUID(int=1), UUID(int=2)
TABLES = (*DISTRIBUTED, *REFERENCE)
CHINESE, THAI = "成语接龙", "ต้องทำงาน"
"""Texts of several words without a space: what they are found by is segmented by the client."""

LARGE = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^large_space_'"
OF = "SELECT tgname FROM pg_trigger WHERE tgrelid = $1::text::regclass AND NOT tgisinternal ORDER BY 1"

SENT = """
SELECT p.proname, p.oid::regprocedure::text, (SELECT min(s.number) FROM sent AS s WHERE s.object = p.oid),
    (SELECT max(s.number) FROM sent AS s WHERE s.object = p.oid), has_function_privilege('public', p.oid, 'EXECUTE'),
    ARRAY(SELECT a.grantee::regrole::text FROM aclexplode(p.proacl) AS a WHERE a.grantee NOT IN (0, p.proowner))
FROM pg_proc AS p WHERE p.pronamespace = 'convostore'::regnamespace
"""
"""The functions, when each was sent first and last, whether anybody may call it, and who else may."""


async def fill_everything(dsn: str) -> None:
    """Store something in every table, segmented words, large spaces and months of bodies."""
    async with await create_pool(dsn) as pool:
        for _ in range(3):
            await fill(pool)
        memory, config, audit = PostgresMemoryStore(pool), PostgresConfigStore(pool), PostgresAuditStore(pool)
        for text in (CHINESE, THAI):
            await memory.add_episode(make_episode(TENANT, AGENT, content=text, embedding=[1, 2], embedding_model="m"))
            await memory.add_entity(make_entity(TENANT, AGENT, name=text))
            await config.save_rule(make_rule(TENANT, AGENT, name=text, condition_text=text))
        for month in (9, 10, 11):
            await on(audit, 2009, month).save_turn(make_turn(TENANT))
    with pytest.MonkeyPatch.context() as patched:
        for module in (spaces, vector_statements, reindexing):
            patched.setattr(module, "EXACT_ROWS", 1)
        assert (await reindex(dsn)).built
    async with connected(dsn) as admin:
        await admin.execute("INSERT INTO convostore.audit_retention VALUES ('2008-01-01', '2009-01-01+00')")


@pytest.fixture(scope="module")
async def filled(engines: Embedded) -> AsyncIterator[str]:
    """The name of a database that was filled, and then given the stand-in."""
    async with fresh_database(engines.postgres_dsn) as dsn:
        await migrate(dsn)
        await fill_everything(dsn)
        assert await keep_session_ids(dsn, by_tenant=True)
        async with connected(dsn) as admin:
            # As a shard of the table large_space is named where the coordinator has shards.
            await admin.execute("CREATE TABLE convostore.large_space_102008 (tenant_id uuid)")
            await stand_in_for_citus(admin)
        yield dsn.rpartition("/")[2].partition("?")[0]


@pytest.fixture
async def dsn(engines: Embedded, filled: str) -> AsyncIterator[str]:
    """A copy of it."""
    name = f"{filled}_copy"
    async with connected(engines.postgres_dsn) as admin:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {filled}")
    yield dsn_of(engines.postgres_dsn, database=name)
    async with connected(engines.postgres_dsn) as admin:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def rows(admin: Any) -> dict[str, list[str]]:
    """Return what is in every table, but the register of tables that are dropped."""
    found = {}
    for table in TABLES:
        if table != "large_space":
            found[table] = [
                row for (row,) in await admin.fetch(f"SELECT t::text FROM convostore.{table} AS t ORDER BY 1")
            ]
    return found


async def done(dsn: str, **settings: str) -> list[str]:
    async with connected(dsn, **settings) as admin:
        return await complete(admin)


async def distributed(admin: Any) -> set[str]:
    known = await admin.fetch("SELECT logicalrelid::text FROM pg_dist_partition WHERE logicalrelid::text !~ '_\\d\\d$'")
    return {name.removeprefix("convostore.") for (name,) in known}


@asynccontextmanager
async def looking(dsn: str) -> AsyncIterator[tuple[asyncpg.Pool[Any], Any]]:
    async with await create_pool(dsn) as pool, connected(dsn) as admin:
        yield pool, admin


async def test_every_row_and_every_word_is_kept_and_later_writes_have_theirs(dsn: str) -> None:
    async with connected(dsn) as admin:
        before = await rows(admin)
        assert all(before.values())
    assert await done(dsn) == [*TABLES]
    async with looking(dsn) as (pool, admin):
        assert await rows(admin) == before
        memory, config = PostgresMemoryStore(pool), PostgresConfigStore(pool)
        await memory.add_episode(make_episode(TENANT, AGENT, content=CHINESE))
        await config.save_rule(make_rule(TENANT, AGENT, name="new", condition_text=THAI))
        assert len(await memory.text_search_episodes("接龙", TENANT, AGENT)) == 2
        assert len(await memory.text_search_episodes("ทำ", TENANT, AGENT)) == 1
        assert len(await config.search_rules("ทำ", [1.0], TENANT, AGENT)) == 2
        assert [entity.name for entity, _ in await memory.find_entities(TENANT, AGENT, name="接龙")] == [CHINESE]


async def test_triggers_that_fire_on_inserts_are_put_back_and_what_a_shard_cannot_do_is_gone(dsn: str) -> None:
    async with connected(dsn) as admin:
        before = {table: [name for (name,) in await admin.fetch(OF, f"convostore.{table}")] for table in TABLES}
        await complete(admin)
        after = {table: [name for (name,) in await admin.fetch(OF, f"convostore.{table}")] for table in TABLES}
        assert [name for (name,) in await admin.fetch(LARGE)] == ["large_space_102008"]
        assert await admin.fetchval("SELECT count(*) FROM convostore.large_space") == 0
        for_ever = "SELECT count(*) FROM pg_trigger WHERE tgname = 'is_append_only' AND tgenabled = 'A'"
        bodies = await admin.fetchval("SELECT count(*) FROM pg_partition_tree('convostore.audit_body')")
        assert await admin.fetchval(for_ever) == 1 + bodies
    gone = {"episode": {"copies_inserted", "copies_updated", "copies_deleted"}, "audit_retention": {"is_append_only"}}
    for table in TABLES:
        bound = {"binds_inserted"} if table in DISTRIBUTED else set()
        assert set(after[table]) == set(before[table]) - gone.get(table, set()) | bound


async def test_interrupted_at_each_table_and_repeated_it_is_complete(dsn: str) -> None:
    async with connected(dsn) as admin:
        before = await rows(admin)
        for number, table in enumerate(TABLES):
            with pytest.raises(asyncpg.QueryCanceledError, match="interrupted"):
                await done(dsn, **{"stand_in.interrupt": f"^convostore.{table}$"})
            assert await distributed(admin) == {*TABLES[:number]}
            assert await rows(admin) == before
        assert await done(dsn) == ["audit_retention"]
        assert await rows(admin) == before


@pytest.mark.parametrize(
    "at", ["^convostore.bind\\(", "^convostore.rule_item$", "binds_inserted on convostore.session$"]
)
async def test_interrupted_beside_the_tables_and_repeated_it_is_as_if_it_had_not_been(
    dsn: str, filled: str, at: str
) -> None:
    with pytest.raises(asyncpg.QueryCanceledError, match="interrupted"):
        await done(dsn, **{"stand_in.interrupt": at})
    await done(dsn)
    async with connected(dsn) as admin:
        repeated = await catalogue(admin)
        await admin.execute("TRUNCATE sent")
        assert await done(dsn) == []
        assert await catalogue(admin) == repeated
        tags = {tag for (tag,) in await admin.fetch("SELECT DISTINCT tag FROM sent")}
        assert tags.isdisjoint({"CREATE TRIGGER", "CREATE TYPE", "CREATE TABLE AS", "ALTER TABLE"})


async def test_a_type_whose_columns_have_other_types_is_made_anew_and_all_is_the_owners(dsn: str) -> None:
    await done(dsn)
    async with connected(dsn) as admin:
        made = await catalogue(admin)
        await admin.execute("ALTER TYPE convostore.rule_item ALTER ATTRIBUTE priority TYPE integer")
        await done(dsn)
        kind = "SELECT atttypid::regtype::text FROM pg_attribute WHERE attrelid = $1::text::regclass AND attname = $2"
        assert await admin.fetchval(kind, "convostore.rule_item", "priority") == "bigint"
        assert await catalogue(admin) == made
        owners = "SELECT array_agg(DISTINCT typowner::regrole::text) FROM pg_type WHERE typname ~ '_item$'"
        assert await admin.fetchval(owners) == ["convostore_owner"]


async def test_a_table_whose_rows_do_not_arrive_as_they_are_is_left_alone(dsn: str) -> None:
    async with connected(dsn) as admin:
        before, schema = await rows(admin), (await catalogue(admin))["triggers"]
        with pytest.raises(StoreError, match=r"convostore\.rule: of 5 rows, 4 would be distributed"):
            await done(dsn, **{"stand_in.lose": "^convostore.rule$"})
        assert await rows(admin) == before
        assert (await catalogue(admin))["triggers"] == schema
        await admin.execute(
            "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN NEW.action_text := upper(NEW.action_text); RETURN NEW; END'"
        )
        # Somebody else's, in a state that it would lose if it were put back.
        await admin.execute(
            "CREATE TRIGGER shouts BEFORE INSERT ON convostore.rule FOR EACH ROW EXECUTE FUNCTION shout()"
        )
        await admin.execute("ALTER TABLE convostore.rule ENABLE ALWAYS TRIGGER shouts")
        with pytest.raises(StoreError, match="5 would be distributed, or not as they are"):
            await done(dsn)
        assert await rows(admin) == before


async def test_a_table_that_somebody_holds_is_given_up_and_repeating_resumes(dsn: str) -> None:
    async with connected(dsn) as holder:
        async with holder.transaction():
            await holder.execute("LOCK TABLE convostore.profile IN ACCESS SHARE MODE")
            with pytest.raises(asyncpg.LockNotAvailableError):
                await done(dsn)
        assert (await done(dsn))[0] == "profile"


async def test_every_function_is_sent_with_its_rights_what_shards_may_call_before_the_first_table(dsn: str) -> None:
    await done(dsn)
    async with connected(dsn) as admin:
        found = await admin.fetch(SENT)
        first = await admin.fetchval("SELECT min(number) FROM sent WHERE query ~ '^SELECT create_distributed_table'")
        rights = await admin.fetch("SELECT number, query FROM sent WHERE tag IN ('GRANT', 'REVOKE')")
    assert {name for name, _, start, *_ in found if start > first} == AFTER
    for _, identity, _, last, public, granted in found:
        late = [query for number, query in rights if number > last and f" {identity} " in query]
        assert public or any(query.startswith("REVOKE ALL") and query.endswith("FROM PUBLIC") for query in late), (
            identity
        )
        assert all(any(query.startswith("GRANT") and role in query for query in late) for role in granted), identity
    assert any(query.startswith("GRANT USAGE ON SCHEMA convostore TO") for _, query in rights)


AFTER = {
    *("session_tenant", "profile_document", "matching_episodes", "audit_body_dropped", "lock_audit_head"),
    *("vector_spaces", "vector_spaces_above", "large_spaces"),
}
"""The functions that depend on tables: a node could not have them before."""


async def test_months_are_made_and_dropped_where_tables_are_distributed(dsn: str) -> None:
    await done(dsn)
    async with looking(dsn) as (pool, admin):
        await on(PostgresAuditStore(pool), 2010, 1).save_turn(make_turn(TENANT))
        month = [name for (name,) in await admin.fetch(OF, "convostore.audit_body_2010_01")]
        assert month == ["binds_inserted", "is_append_only"]
        assert await admin.fetchval("SELECT count(*) FROM convostore.drop_audit_months('2010-01-01')") == 4
        assert await admin.fetchval("SELECT count(*) FROM convostore.audit_retention") == 5
        for function in ("create_audit_months", "drop_audit_months"):
            settings = await admin.fetchval("SELECT proconfig FROM pg_proc WHERE proname = $1", function)
            assert "citus.multi_shard_modify_mode=sequential" in settings


async def test_sizes_are_those_of_the_shards(dsn: str) -> None:
    await done(dsn)
    async with looking(dsn) as (pool, _):
        sizes = await Overview(pool).sizes()
    assert {*sizes} == {*TABLES}
    assert all(size.rows is None and size.data >= 0 and size.indexes > 0 for size in sizes.values())
    assert sizes["audit_body"].data > sizes["large_space"].data


async def test_former_rows_of_the_audit_trail_are_dropped_as_the_page_says(dsn: str) -> None:
    async with connected(dsn) as admin:
        await complete(admin)
        (script,) = blocks(DOCS / "howto" / "citus.md", "sql")
        triggers = "SELECT tgrelid, tgenabled FROM pg_trigger WHERE tgname = 'is_append_only' ORDER BY 1"
        before = await admin.fetch(triggers)
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="audit records cannot be changed"):
            await admin.execute("SELECT truncate_local_data_after_distributing_table('convostore.audit_record')")
        await admin.execute(script)
        assert (await rows(admin))["audit_record"] == (await rows(admin))["audit_body"] == []
        assert await admin.fetch(triggers) == before != []
