"""The audit trail refuses every change, to the application, to maintenance, to the owner and to a superuser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from convostore.embedded import Embedded
from convostore.postgres import PostgresAuditStore
from convostore.testing.factories import full_event, full_turn
from tests.postgres.databases import connected
from tests.postgres.test_isolation import set_tenant

TABLES = ["turn", "event"]
CHANGES = ["UPDATE convostore.{} SET tenant_id = tenant_id", "DELETE FROM convostore.{}", "TRUNCATE convostore.{}"]
STORED = UUID(int=21)


@pytest.fixture(scope="module", autouse=True)
async def records(pool: asyncpg.Pool[Any]) -> None:
    """A turn and an event that somebody might want to change."""
    store = PostgresAuditStore(pool)
    await store.save_turn(full_turn(STORED))
    await store.save_event(full_event(STORED))


@pytest.fixture(params=["convostore_app", "convostore_maintenance", "convostore_owner", "postgres"])
async def role(server: Embedded, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """A connection of each role, with the tenant set."""
    async with connected(server.postgres_dsn, role=request.param) as connection:
        await set_tenant(connection, STORED)
        yield connection


async def content(admin: Any, table: str) -> list[Any]:
    """Return all rows of a table."""
    rows: list[Any] = await admin.fetch(f"SELECT t.*, t.xmin FROM convostore.{table} AS t ORDER BY t")
    return rows


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.split()[0])
@pytest.mark.parametrize("table", TABLES)
async def test_no_role_changes_a_record(admin: Any, role: Any, table: str, change: str) -> None:
    before = await content(admin, table)
    try:
        done = await role.execute(change.format(table))
    except asyncpg.InsufficientPrivilegeError:
        pass
    else:
        # Row-level security hides every row from the owner, so there is nothing for it to change.
        assert done in ("UPDATE 0", "DELETE 0")
        assert await role.fetchval("SELECT current_user") == "convostore_owner"
    assert await content(admin, table) == before != []


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.split()[0])
@pytest.mark.parametrize("table", TABLES)
async def test_an_owner_who_takes_row_level_security_away_is_refused_by_the_trigger(
    server: Embedded, table: str, change: str
) -> None:
    async with connected(server.postgres_dsn, role="convostore_owner") as owner:
        transaction = owner.transaction()
        await transaction.start()
        await owner.execute(f"ALTER TABLE convostore.{table} NO FORCE ROW LEVEL SECURITY")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="audit records cannot be changed"):
            await owner.execute(change.format(table))
        await transaction.rollback()


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.split()[0])
@pytest.mark.parametrize("table", TABLES)
async def test_a_superuser_who_switches_ordinary_triggers_off_is_refused_too(
    admin: Any, table: str, change: str
) -> None:
    await admin.execute("SET session_replication_role = replica")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="audit records cannot be changed"):
        await admin.execute(change.format(table))


@pytest.mark.parametrize("role", ["convostore_app", "convostore_maintenance", "postgres"], indirect=True)
@pytest.mark.parametrize("table", TABLES)
async def test_a_record_cannot_be_replaced_by_inserting_it_again(role: Any, table: str) -> None:
    row = f"SELECT * FROM convostore.{table} WHERE tenant_id = $1 LIMIT 1"
    key = "turn_id" if table == "turn" else "id"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await role.execute(
            f"INSERT INTO convostore.{table} {row} ON CONFLICT (tenant_id, {key}) DO UPDATE SET tenant_id = $1", STORED
        )
