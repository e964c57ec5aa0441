"""What of a migration reaches the nodes of Citus, on plain PostgreSQL: an event trigger sees the settings of its DDL.

Stand-ins have the names of what Citus has: `citus_stand_in.sql`, and here the function `run_command_on_workers`, for a
cluster of one worker that only keeps the commands, and the row of the extension. Nothing is sent anywhere.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from convostore.embedded import Embedded, open_embedded
from convostore.errors import StoreError, ValidationError
from convostore.postgres import migrate
from convostore.postgres.distributing import distribute
from convostore.postgres.distribution import DISTRIBUTED, REFERENCE, ROLES, prepare
from convostore.postgres.migrations import HEAD, VERSIONS, keep_session_ids, prepare_roles
from convostore.postgres.migrations.printing import migration_sql, roles_sql
from convostore.postgres.migrations.propagation import BEFORE_DISTRIBUTION
from tests.postgres.catalogue import catalogue
from tests.postgres.databases import connected, dsn_of, fresh_database, fresh_user

LOCAL = ("false", "none", "on", "sequential")
PROPAGATED = ("true", "none", "on", "sequential")

RECORDED = """
CREATE TABLE seen (tag text, propagation text, set_commands text, triggers text, mode text);
CREATE FUNCTION record_settings() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_event_trigger_ddl_commands() AS c
        WHERE c.in_extension AND tg_tag <> 'CREATE EXTENSION'
            OR tg_tag = 'CREATE TABLE' AND c.object_identity = 'convostore.alembic_version'
    ) THEN
        RETURN; -- Alembic makes that table before the first migration; CREATE TABLE alone is sent nowhere.
    END IF;
    INSERT INTO public.seen VALUES (tg_tag, current_setting('citus.enable_ddl_propagation', true),
        current_setting('citus.propagate_set_commands', true), current_setting('citus.enable_unsafe_triggers', true),
        current_setting('citus.multi_shard_modify_mode', true));
END
$$;
CREATE EVENT TRIGGER records_settings ON ddl_command_end EXECUTE FUNCTION record_settings();
"""
SEEN = "SELECT DISTINCT propagation, set_commands, triggers, mode FROM seen WHERE tag <> ALL ($1)"
FIRST = "SELECT DISTINCT tag, propagation FROM seen WHERE tag = ANY ($1) ORDER BY tag"
ONCE = ["CREATE EXTENSION", "CREATE SCHEMA"]
"""What is run before migrations, which is always local."""

METADATA = Path(__file__).with_name("citus_stand_in.sql").read_text("utf-8")
AGENT = "INSERT INTO pg_dist_partition VALUES ('convostore.agent', 'h', 's'); TRUNCATE seen"
"""The first table is distributed, as by a distribution that was interrupted."""

WORKER = """
SET allow_system_table_mods = on;
INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
VALUES (99999, 'citus', 10, 11, false, '14');
CREATE TABLE sent (number bigint GENERATED ALWAYS AS IDENTITY, command text);
CREATE FUNCTION run_command_on_workers(command text)
RETURNS TABLE (nodename text, nodeport integer, success boolean, result text) LANGUAGE sql AS $$
    INSERT INTO public.sent (command) VALUES (command);
    SELECT 'worker', 5432, to_regclass('broken') IS NULL, 'connection refused'
$$;
"""


@asynccontextmanager
async def recorded(dsn: str, further: str = "") -> AsyncIterator[tuple[str, Any]]:
    """The DSN of an empty database that records the settings of DDL, and a superuser's connection to it."""
    async with fresh_database(dsn) as fresh, connected(fresh) as admin:
        await admin.execute(RECORDED)
        await admin.execute(further or "SELECT")
        await admin.execute("TRUNCATE seen")
        yield fresh, admin


async def settings(admin: Any) -> list[tuple[str, ...]]:
    """Return the different settings with which DDL of migrations was run."""
    return [tuple(row) for row in await admin.fetch(SEEN, ONCE)]


@pytest.mark.parametrize("further", ["", METADATA], ids=["without the extension", "with the extension"])
async def test_the_schema_is_local_until_a_table_is_distributed(engines: Embedded, further: str) -> None:
    async with recorded(engines.postgres_dsn, further) as (dsn, admin):
        await migrate(dsn)
        assert await settings(admin) == [LOCAL]
        assert [tuple(row) for row in await admin.fetch(FIRST, ONCE)] == [(tag, "off") for tag in ONCE]


async def test_a_migration_reaches_the_nodes_if_only_some_tables_are_distributed_and_completes(
    engines: Embedded,
) -> None:
    async with recorded(engines.postgres_dsn, METADATA) as (dsn, admin):
        await migrate(dsn, sessions_by_tenant=True)
        await admin.execute(AGENT)
        await migrate(dsn, VERSIONS[-2])
        assert await settings(admin) == [PROPAGATED]
        await migrate(dsn)
        known = "SELECT count(*) FROM pg_dist_partition WHERE logicalrelid::text !~ '_\\d\\d$'"
        assert await admin.fetchval(known) == len((*DISTRIBUTED, *REFERENCE))


async def test_printed_statements_do_the_same(engines: Embedded) -> None:
    async with recorded(engines.postgres_dsn, METADATA) as (_, admin):
        await admin.execute("ALTER EVENT TRIGGER check_triggers DISABLE")  # It would see all statements in one text.
        await admin.execute(roles_sql("postgres"))
        assert [tuple(row) for row in await admin.fetch(FIRST, ONCE)] == [(tag, "off") for tag in ONCE]
        await admin.execute("TRUNCATE seen")
        await admin.execute(migration_sql("base", HEAD))
        assert await settings(admin) == [LOCAL]
        await admin.execute(AGENT)
        await admin.execute(migration_sql(HEAD, VERSIONS[-2]))
        assert await settings(admin) == [PROPAGATED]


async def test_other_tables_that_are_distributed_do_not_matter(engines: Embedded) -> None:
    async with recorded(engines.postgres_dsn, f"{METADATA}; CREATE TABLE theirs ()") as (dsn, admin):
        await admin.execute("INSERT INTO pg_dist_partition VALUES ('theirs', 'h', 's')")
        await prepare_roles(dsn, "postgres")
        await migrate(dsn)
        assert LOCAL in await settings(admin)
        assert PROPAGATED not in await settings(admin)


async def test_what_distributed_tables_cannot_have_is_refused(engines: Embedded) -> None:
    async with fresh_database(engines.postgres_dsn) as dsn:
        await migrate(dsn, sessions_by_tenant=True)
        async with connected(dsn) as admin:
            await prepare(admin)
            before = await catalogue(admin)
            for target in ("base", BEFORE_DISTRIBUTION):
                with pytest.raises(ValidationError, match=r"^revision: tables are distributed"):
                    await migrate(dsn, target)
            with pytest.raises(ValidationError, match=r"^sessions_by_tenant: tables are distributed"):
                await keep_session_ids(dsn, by_tenant=False)
            assert await catalogue(admin) == before


async def test_only_a_superuser_distributes_or_migrates_what_is_distributed(engines: Embedded) -> None:
    rights = "BYPASSRLS IN ROLE convostore_owner"
    async with fresh_database(engines.postgres_dsn) as dsn, fresh_user(dsn, rights) as user:
        with pytest.raises(ValidationError, match="its user must be a superuser"):
            await distribute(user)
        await migrate(dsn, sessions_by_tenant=True)
        async with connected(dsn) as admin:
            await prepare(admin)
        await migrate(user)  # There is nothing to do.
        await migrate(dsn, VERSIONS[-2])
        with pytest.raises(ValidationError, match="let a superuser run: convostore migrate --citus"):
            await migrate(user)
        await migrate(dsn)


@pytest.fixture
async def cluster() -> AsyncIterator[str]:
    """The DSN of an empty database on a server of its own, with stand-ins of a worker."""
    async with open_embedded(ephemeral=True, valkey=False) as opened:
        async with connected(opened.postgres_dsn) as admin:
            await admin.execute("CREATE DATABASE cluster")
        dsn = dsn_of(opened.postgres_dsn, database="cluster")
        async with connected(dsn) as admin:
            await admin.execute(WORKER)
        yield dsn


async def test_the_roles_are_on_every_node_before_the_schema(cluster: str) -> None:
    async with connected(cluster) as admin:
        await admin.execute("CREATE TABLE broken ()")
        with pytest.raises(StoreError, match=r"^worker: connection refused$"):
            await distribute(cluster)
        assert await admin.fetchval("SELECT to_regnamespace('convostore') IS NULL")
        await admin.execute("ALTER FUNCTION run_command_on_workers RENAME TO run_command")
        with pytest.raises(StoreError, match=r"convostore doctor to see what\. 42883: function run_command_on_workers"):
            await distribute(cluster)
        await admin.execute("ALTER FUNCTION run_command RENAME TO run_command_on_workers")
        await admin.execute("DROP TABLE broken; TRUNCATE sent")
        assert await distribute(cluster) == []
        made, login = (row["command"] for row in await admin.fetch("SELECT command FROM sent ORDER BY number"))
        assert all(f"'{role}'" in made and f"ALTER ROLE {role} LOGIN" in login for role in ROLES)
        may = "SELECT count(*) FROM pg_roles WHERE rolname = ANY ($1) AND rolcanlogin"
        assert await admin.fetchval(may, list(ROLES)) == len(ROLES)
        configured = "SELECT rolname, rolconfig FROM pg_roles WHERE rolname = ANY ($1)"
        found = dict(await admin.fetch(configured, list(ROLES)))
        given = ["TimeZone=UTC", "DateStyle=ISO", "jit=off"]
        searches = {"convostore_search": [*given, "enable_seqscan=off"]}
        assert found == {**dict.fromkeys(ROLES, given), **searches}
        for command in (made, login):  # a worker that propagates would be refused, or send it back
            await admin.execute("SET citus.enable_ddl_propagation = 'on'")
            async with admin.transaction():
                await admin.execute(command)
                assert await admin.fetchval("SHOW citus.enable_ddl_propagation") == "off"
