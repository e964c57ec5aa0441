"""The audit trail refuses every change, to the application, to maintenance, to the owner and to a superuser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from convostore.embedded import Embedded
from convostore.postgres import PostgresAuditStore, create_pool
from convostore.testing.audit.retention import on
from convostore.testing.factories import full_event, full_turn
from tests.postgres.databases import connected
from tests.postgres.test_isolation import set_tenant

MONTH = (datetime.now(UTC) + timedelta(days=120)).date()
"""In a month to come: no other test drops it."""
TABLES = ["audit_record", "audit_body", f"audit_body_{MONTH:%Y_%m}", "audit_retention"]
CHANGES = ["UPDATE convostore.{} SET {} = {}", "DELETE FROM convostore.{}", "TRUNCATE convostore.{}"]
COLUMN = {"audit_retention": "month"}
STORED = UUID(int=21)

EVERY_CHANGE = pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.split()[0])
EVERY_TABLE = pytest.mark.parametrize("table", TABLES)
ROLES = ["convostore_app", "convostore_maintenance", "convostore_owner", "postgres"]


@pytest.fixture(scope="module", autouse=True)
async def records(server: Embedded, pool: asyncpg.Pool[Any]) -> None:
    """A turn and an event that somebody might want to change, and a month that was dropped."""
    store = PostgresAuditStore(pool)
    await on(store, 1969, 12).prepare_months()
    async with await create_pool(server.postgres_dsn, role="convostore_maintenance") as maintenance:
        await PostgresAuditStore(maintenance).drop_bodies(before=datetime(1970, 1, 1, tzinfo=UTC))
    await on(store, MONTH.year, MONTH.month).save_turn(full_turn(STORED))
    await on(store, MONTH.year, MONTH.month).save_event(full_event(STORED))


@pytest.fixture(params=ROLES)
async def role(server: Embedded, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """A connection of each role, with the tenant set."""
    async with connected(server.postgres_dsn, role=request.param) as connection:
        await set_tenant(connection, STORED)
        yield connection


async def content(admin: Any, table: str) -> list[Any]:
    """Return all rows of a table."""
    rows: list[Any] = await admin.fetch(f"SELECT t.*, t.xmin FROM convostore.{table} AS t ORDER BY t")
    return rows


def statement(change: str, table: str) -> str:
    """Return a statement that would change a table if there were rows or not."""
    column = COLUMN.get(table, "tenant_id")
    return change.format(table, column, column)


@EVERY_CHANGE
@EVERY_TABLE
async def test_no_role_changes_a_record(admin: Any, role: Any, table: str, change: str) -> None:
    before = await content(admin, table)
    with pytest.raises(asyncpg.InsufficientPrivilegeError) as refused:
        await role.execute(statement(change, table))
    if await role.fetchval("SELECT current_user") in ("convostore_owner", "postgres"):
        assert refused.value.message == "audit records cannot be changed"
    assert await content(admin, table) == before != []


@EVERY_CHANGE
@EVERY_TABLE
async def test_an_owner_who_disables_row_level_security_is_refused_by_the_trigger(
    server: Embedded, table: str, change: str
) -> None:
    async with connected(server.postgres_dsn, role="convostore_owner") as owner:
        transaction = owner.transaction()
        await transaction.start()
        await owner.execute(f"ALTER TABLE convostore.{table} NO FORCE ROW LEVEL SECURITY")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="audit records cannot be changed"):
            await owner.execute(statement(change, table))
        await transaction.rollback()


@EVERY_CHANGE
@EVERY_TABLE
async def test_a_superuser_in_replica_mode_is_refused_too(admin: Any, table: str, change: str) -> None:
    await admin.execute("SET session_replication_role = replica")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="audit records cannot be changed"):
        await admin.execute(statement(change, table))


@pytest.mark.parametrize("role", ["convostore_app", "convostore_maintenance", "postgres"], indirect=True)
@pytest.mark.parametrize(("table", "key"), [("audit_record", ""), ("audit_body", ", recorded_at")])
async def test_a_record_cannot_be_replaced_by_inserting_it_again(role: Any, table: str, key: str) -> None:
    row = f"SELECT * FROM convostore.{table} WHERE tenant_id = $1 LIMIT 1"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await role.execute(
            f"INSERT INTO convostore.{table} {row} "
            f"ON CONFLICT (tenant_id, kind, record_id{key}) DO UPDATE SET tenant_id = $1",
            STORED,
        )


@pytest.mark.parametrize("role", ["postgres"], indirect=True)
async def test_a_record_cannot_be_replaced_by_merging(role: Any) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="audit records cannot be changed"):
        await role.execute(
            "MERGE INTO convostore.audit_body AS t USING convostore.audit_record AS r ON t.record_id = r.record_id "
            "WHEN MATCHED THEN UPDATE SET turn_id = NULL"
        )


async def test_every_partition_refuses_changes_also_in_a_replica(admin: Any) -> None:
    rows = await admin.fetch(
        "SELECT c.relname, t.tgenabled, t.tgtype FROM pg_class AS c LEFT JOIN pg_trigger AS t ON t.tgrelid = c.oid "
        "WHERE c.relnamespace = 'convostore'::regnamespace AND c.relispartition AND c.relkind = 'r'"
    )
    assert len(rows) >= 5
    before, delete, update, truncate = 2, 8, 16, 32  # pg_trigger.h; without 1, once per statement
    for _, enabled, kind in rows:
        assert (enabled, kind) == (b"A", before | delete | update | truncate)


async def test_only_maintenance_drops_bodies(pool: asyncpg.Pool[Any]) -> None:
    with pytest.raises(Exception, match="lacks a privilege") as refused:
        await PostgresAuditStore(pool).drop_bodies(before=datetime(1970, 1, 1, tzinfo=UTC))
    assert getattr(refused.value, "code", None) == "42501"
