"""Row-level security, the second line of isolation: without a tenant it shows nothing, and it fails closed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from convostore.domain.declarations import DECLARATIONS
from convostore.embedded import Embedded
from tests.postgres.databases import connected

OTHER = UUID(int=7)

AUDIT = {"audit_record", "audit_head", "audit_body"}
"""What no role may write but by `record_audit` and `record_audit_item`."""


@pytest.fixture(params=["convostore_app", "convostore_maintenance"])
async def bound(server: Embedded, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """A connection of each role that the stores or their upkeep run as."""
    async with connected(server.postgres_dsn, role=request.param) as connection:
        yield connection


async def set_tenant(connection: Any, tenant: UUID | str) -> None:
    """Set the tenant of row-level security for the rest of a connection's life."""
    await connection.execute("SELECT set_config('convostore.tenant', $1, false)", str(tenant))


async def counts(connection: Any, tables: list[str]) -> dict[str, int]:
    """Return how many rows a connection sees in each table."""
    return {name: await connection.fetchval(f'SELECT count(*) FROM convostore."{name}"') for name in tables}


async def rows_of(admin: Any, table: str, tenant: UUID) -> list[dict[str, Any]]:
    """Return the rows of a tenant, as JSON, without what PostgreSQL computes."""
    rows = await admin.fetch(f'SELECT to_jsonb(t)::text FROM convostore."{table}" AS t WHERE tenant_id = $1', tenant)
    generated = await admin.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attgenerated <> ''", f'convostore."{table}"'
    )
    computed = {name for (name,) in generated}
    return [{name: value for name, value in json.loads(row).items() if name not in computed} for (row,) in rows]


async def insert(connection: Any, table: str, row: dict[str, Any]) -> None:
    """Insert a row that stands as JSON."""
    columns = ", ".join(f'"{column}"' for column in row)
    await connection.execute(
        f'INSERT INTO convostore."{table}" ({columns}) '
        f'SELECT {columns} FROM json_populate_record(NULL::convostore."{table}", $1::json)',
        json.dumps(row, default=str),
    )


async def test_every_table_is_tested_with_rows_in_it(admin: Any, tables: list[str], tenant: UUID) -> None:
    assert {declaration.name for declaration in DECLARATIONS} < set(tables)
    assert min((await counts(admin, tables)).values()) > 0


async def test_no_row_is_seen_without_a_tenant(bound: Any, tables: list[str], tenant: UUID) -> None:
    assert set((await counts(bound, tables)).values()) == {0}


async def test_no_row_is_seen_with_an_empty_setting(bound: Any, tables: list[str], tenant: UUID) -> None:
    await set_tenant(bound, "")
    assert set((await counts(bound, tables)).values()) == {0}


async def test_a_setting_that_is_no_tenant_is_an_error_rather_than_a_row(
    bound: Any, tables: list[str], tenant: UUID
) -> None:
    await set_tenant(bound, "everybody")
    for table in tables:
        with pytest.raises(asyncpg.DataError):
            await counts(bound, [table])


async def test_a_tenant_sees_its_own_rows_and_no_others(bound: Any, tables: list[str], tenant: UUID) -> None:
    await set_tenant(bound, OTHER)
    assert set((await counts(bound, tables)).values()) == {0}
    await set_tenant(bound, tenant)
    assert min((await counts(bound, tables)).values()) > 0
    for table in tables:
        assert await bound.fetch(f'SELECT DISTINCT tenant_id FROM convostore."{table}"') == [(tenant,)]


async def test_the_owner_of_the_tables_sees_no_row(server: Embedded, tables: list[str], tenant: UUID) -> None:
    async with connected(server.postgres_dsn, role="convostore_owner") as owner:
        await set_tenant(owner, tenant)
        assert set((await counts(owner, tables)).values()) == {0}


async def test_a_row_cannot_be_inserted_for_another_tenant(
    admin: Any, bound: Any, tables: list[str], tenant: UUID
) -> None:
    for setting in ("", OTHER):
        await set_tenant(bound, setting)
        for table in tables:
            refused = "permission denied" if table in AUDIT else "row-level security"
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match=refused):
                await insert(bound, table, (await rows_of(admin, table, tenant))[0])


async def test_a_row_cannot_be_moved_to_another_tenant(bound: Any, tables: list[str], tenant: UUID) -> None:
    await set_tenant(bound, tenant)
    for table in tables:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await bound.execute(f'UPDATE convostore."{table}" SET tenant_id = $1', OTHER)


async def test_rows_of_other_tenants_are_neither_changed_nor_deleted(
    bound: Any, tables: list[str], tenant: UUID
) -> None:
    await set_tenant(bound, OTHER)
    for table in set(tables) - {*AUDIT, "scenario_archive"}:
        assert await bound.execute(f'UPDATE convostore."{table}" SET tenant_id = tenant_id') == "UPDATE 0"
        assert await bound.execute(f'DELETE FROM convostore."{table}"') == "DELETE 0"


async def test_partitions_grant_no_privileges(admin: Any, bound: Any, tenant: UUID) -> None:
    partitions = await admin.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'convostore'::regnamespace AND relispartition "
        "AND relkind = 'r'"
    )
    assert len(partitions) >= 4
    await set_tenant(bound, tenant)
    for (table,) in partitions:
        row = f"INSERT INTO convostore.{table} SELECT * FROM convostore.audit_body LIMIT 1"
        for statement in (f"SELECT FROM convostore.{table}", f"DELETE FROM convostore.{table}", row):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
                await bound.execute(statement)
        assert await admin.fetch("SELECT FROM pg_policies WHERE tablename = $1", table) == []


async def test_the_audit_trail_is_written_by_its_function_alone(admin: Any, bound: Any, tenant: UUID) -> None:
    await set_tenant(bound, tenant)
    for table in AUDIT:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
            await insert(bound, table, (await rows_of(admin, table, tenant))[0])
        for statement in (f"UPDATE convostore.{table} SET tenant_id = tenant_id", f"DELETE FROM convostore.{table}"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
                await bound.execute(statement)
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
        await bound.execute("SELECT convostore.lock_audit_head($1, '')", tenant)


SESSIONS = ("session", "session_identity")
"""A session's id is unique across tenants, which is the one exception; an identity refers to its session."""


async def test_the_same_row_may_stand_under_two_tenants(
    admin: Any, bound: Any, tables: list[str], tenant: UUID
) -> None:
    other = uuid4()
    await set_tenant(bound, other)
    # What they refer to must be there first.
    parents = ["entity", "episode", "profile"]
    order = [*parents, *(name for name in tables if name not in (*parents, *SESSIONS, *AUDIT))]
    async with bound.transaction():
        for table in order:
            for row in await rows_of(admin, table, tenant):
                await insert(bound, table, row | {"tenant_id": other})
        assert min((await counts(bound, order)).values()) > 0
