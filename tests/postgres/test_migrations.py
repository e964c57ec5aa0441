"""Migrations up, down and up again, one after the other and all at once, each test in a database of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from convostore.embedded import Embedded
from convostore.errors import ConnectionError, ValidationError
from convostore.postgres import PostgresConfigStore, PostgresMemoryStore, create_pool, migrate, schema_version
from convostore.postgres import migrations as module
from convostore.postgres.migrations.scripts import load
from convostore.testing.factories import make_episode
from tests.postgres.blocking import waiting
from tests.postgres.catalogue import VERSION_TABLE, catalogue
from tests.postgres.databases import connected, dsn_of, fresh_database, fresh_user
from tests.postgres.filled import fill


@pytest.fixture
async def empty(server: Embedded) -> AsyncIterator[str]:
    """The DSN of an empty database."""
    async with fresh_database(server.postgres_dsn) as dsn:
        yield dsn


async def snapshot(dsn: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return the catalogue of a database."""
    async with connected(dsn) as connection:
        return await catalogue(connection)


async def test_every_version_is_the_same_after_up_down_and_up_again_with_data_in_it(empty: str) -> None:
    base, *versions = module.VERSIONS
    assert await schema_version(empty) == base
    found = []
    # The last version is filled before it goes down, and again when it is back.
    for version in (*versions, *reversed(versions[:-1]), base, *versions):
        await migrate(empty, version)
        assert await schema_version(empty) == version
        found.append((version, await snapshot(empty)))
        if version == module.HEAD:
            async with await create_pool(empty) as pool:
                assert await PostgresConfigStore(pool).get_agents(await fill(pool)) != ([], 0)
    for version, left in found:
        assert left == dict(found)[version]
        assert all(len(rows) > 0 for rows in left.values()) or version == base


async def test_down_removes_everything_but_the_version_table_also_from_a_filled_database(empty: str) -> None:
    await migrate(empty)
    async with await create_pool(empty) as pool:
        await fill(pool)
    await migrate(empty, "base")
    left = {kind: {row[0] for row in rows} for kind, rows in (await snapshot(empty)).items()}
    owner = left.pop("schemas")
    assert owner == {"convostore_owner"}
    for kind, names in left.items():
        assert names <= VERSION_TABLE.get(kind, set()), kind
    async with connected(empty) as connection:
        granted = await connection.fetchval(
            "SELECT count(*) FROM pg_class, aclexplode(relacl) AS a WHERE relnamespace = 'convostore'::regnamespace "
            "AND a.grantee <> 'convostore_owner'::regrole"
        )
        assert granted == 0
        for role in ("convostore_app", "convostore_maintenance", "convostore_reader", "convostore_search"):
            assert not await connection.fetchval("SELECT has_schema_privilege($1, 'convostore', 'USAGE')", role)


async def test_migrating_to_the_version_that_is_there_changes_nothing(empty: str) -> None:
    await migrate(empty)
    before = await snapshot(empty)
    await migrate(empty)
    await migrate(empty, module.HEAD)
    assert await snapshot(empty) == before


async def test_each_migration_is_logged_with_its_direction(empty: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "alembic")
    await migrate(empty, "0002")
    await migrate(empty, "0001")
    logged = [record.getMessage().partition(",")[0] for record in caplog.records if "->" in record.message]
    assert logged == ["Running upgrade  -> 0001", "Running upgrade 0001 -> 0002", "Running downgrade 0002 -> 0001"]


async def test_eight_migrations_at_once_end_in_one_whole_schema(server: Embedded, empty: str) -> None:
    await asyncio.gather(*(migrate(empty) for _ in range(8)))
    async with fresh_database(server.postgres_dsn) as other:
        await migrate(other)
        assert await snapshot(empty) == await snapshot(other)


async def test_two_databases_of_one_server_can_be_migrated_at_once(server: Embedded, empty: str) -> None:
    async with fresh_database(server.postgres_dsn) as other:
        await asyncio.gather(migrate(empty), migrate(other))
        assert await snapshot(other) == await snapshot(empty)


async def test_a_migration_waits_for_another_and_gives_up_at_its_deadline(empty: str) -> None:
    async with connected(empty) as other:
        await other.execute("SELECT pg_advisory_lock($1)", module._LOCK)
        with pytest.raises(ConnectionError) as late:
            await migrate(empty, timeout=0.2)
        assert (late.value.code, late.value.retryable) == ("timeout", True)
        assert await schema_version(empty) == "base"
    await migrate(empty)


async def test_a_migration_that_is_the_victim_of_a_deadlock_is_tried_again(empty: str) -> None:
    await migrate(empty, "0013")
    async with (
        connected(empty) as admin,
        connected(empty, deadlock_timeout="60s") as traffic,  # which therefore is not the one to find the deadlock
        traffic.transaction(),
    ):
        # The migration locks agents, and then waits for profiles.
        await traffic.execute("LOCK TABLE convostore.profile IN ROW EXCLUSIVE MODE")
        upgrade = asyncio.create_task(migrate(empty, "0014"))
        async with asyncio.timeout(20):
            while not await admin.fetchval(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'convostore.profile'::regclass)"
            ):
                pass
        await traffic.execute("LOCK TABLE convostore.agent IN ROW EXCLUSIVE MODE")
        assert await schema_version(empty) == "0013"
    await upgrade
    assert await schema_version(empty) == "0014"


async def test_a_call_goes_through_while_a_migration_makes_its_function_anew(empty: str) -> None:
    await migrate(empty)
    tenant, agent = uuid4(), uuid4()
    episode = make_episode(tenant, agent, content="tea")
    async with await create_pool(empty, max_size=1) as pool, connected(empty) as admin, connected(empty) as owner:
        store = PostgresMemoryStore(pool)
        await store.add_episode(episode)
        pid = await pool.fetchval("SELECT pg_backend_pid()")
        name = "convostore.scored_episodes"
        definition = await owner.fetchval(f"SELECT pg_get_functiondef('{name}'::regproc)")
        async with owner.transaction():
            # The search has looked up its function when it waits for the table.
            await owner.execute(f"LOCK TABLE convostore.episode; DROP FUNCTION {name}; {definition}")
            search = asyncio.create_task(store.text_search_episodes("tea", tenant, agent))
            await waiting(admin, pid)
        assert await search == [episode]


@pytest.mark.slow
async def test_an_index_that_was_made_concurrently_beforehand_is_the_one_of_the_migration(empty: str) -> None:
    await migrate(empty)
    whole = await snapshot(empty)
    beforehand = [statement for each in load() for statement in each.up if "INDEX IF NOT EXISTS" in statement]
    await migrate(empty, "0012")
    async with connected(empty) as admin:
        await admin.execute("SET ROLE convostore_owner")
        for statement in beforehand:
            await admin.execute(statement.replace("INDEX IF", "INDEX CONCURRENTLY IF"))
    await migrate(empty)
    assert await snapshot(empty) == whole


async def test_a_user_without_the_rights_is_told_so_and_leaves_nothing(server: Embedded, empty: str) -> None:
    before = await snapshot_without_schema(empty)
    async with fresh_user(server.postgres_dsn, "") as user:
        name = user.partition("//")[2].partition("@")[0]
        with pytest.raises(ValidationError, match="may neither use nor migrate") as refused:
            await migrate(dsn_of(empty, user=name))
    assert isinstance(refused.value.__cause__, asyncpg.PostgresError)
    assert await snapshot_without_schema(empty) == before == []


async def snapshot_without_schema(dsn: str) -> list[Any]:
    """Return what there is of the schema, whether or not it is there at all."""
    async with connected(dsn) as connection:
        rows: list[Any] = await connection.fetch("SELECT * FROM pg_namespace WHERE nspname = 'convostore'")
        return rows


async def test_the_schema_of_a_newer_release_that_this_one_works_with_is_used_and_left_alone(empty: str) -> None:
    await migrate(empty)
    async with connected(empty) as connection:
        await connection.execute("UPDATE convostore.alembic_version SET version_num = '9999'")
    before = await snapshot(empty)
    await migrate(empty)
    assert await schema_version(empty) == "9999"
    with pytest.raises(ValidationError, match="revision: the schema is at 9999"):
        await migrate(empty, "base")
    assert await snapshot(empty) == before


async def test_every_migration_leaves_the_oldest_version_that_works_with_it(empty: str) -> None:
    for each in load():
        await migrate(empty, each.version)
        async with connected(empty) as connection:
            found = await connection.fetchval("SELECT compatible FROM convostore.alembic_version")
        assert found == each.compatible


async def test_a_database_of_a_newer_release_is_left_alone(empty: str) -> None:
    await migrate(empty)
    async with connected(empty) as connection:
        await connection.execute("UPDATE convostore.alembic_version SET version_num = '9999', compatible = '9998'")
    before = await snapshot(empty)
    for call in (migrate(empty), migrate(empty, "base"), schema_version(empty)):
        with pytest.raises(ValidationError, match="9999"):
            await call
    assert await snapshot(empty) == before


async def test_an_unknown_version_is_refused_before_the_server_is_asked() -> None:
    with pytest.raises(ValidationError, match="revision"):
        await migrate("postgresql://nowhere.invalid/none", "9999")
