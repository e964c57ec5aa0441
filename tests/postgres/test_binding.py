"""Tenant binding: a statement sees what belongs to the tenant that it binds, and nothing stays bound after it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from convostore.embedded import Embedded
from convostore.postgres.tenancy import BIND_TENANT, BOUND
from tests.postgres.databases import connected

OTHER = UUID(int=7)

SPARED = {"audit_record", "audit_head", "audit_body", "scenario_archive"}
"""The tables whose rows nobody may change."""


@pytest.fixture(params=["convostore_app", "convostore_maintenance"])
async def connection(server: Embedded, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """A connection of each role that stores or upkeep run as, bound to nobody."""
    async with connected(server.postgres_dsn, role=request.param) as opened:
        yield opened


async def is_unbound(connection: Any, tables: list[str]) -> bool:
    """Return whether a connection sees no row of any table."""
    return not [name for name in tables if await connection.fetch(f'SELECT FROM convostore."{name}" LIMIT 1')]


@pytest.mark.parametrize(
    "statement",
    [
        f"SELECT FROM convostore.{{}} AS t WHERE {BIND_TENANT}",
        f"WITH {BOUND} SELECT FROM convostore.{{}} AS t WHERE (TABLE bound)",
    ],
)
async def test_a_statement_sees_the_rows_of_the_tenant_that_it_binds(
    connection: Any, tables: list[str], tenant: UUID, statement: str
) -> None:
    for table in tables:
        assert await connection.fetch(statement.format(table), tenant) != [], table
        assert await connection.fetch(statement.format(table), OTHER) == [], table
        assert await connection.fetch(statement.format(table), None) == [], table
    assert await is_unbound(connection, tables)


async def test_a_statement_that_binds_one_tenant_and_names_another_sees_nothing(
    connection: Any, tables: list[str], tenant: UUID
) -> None:
    for table in tables:
        statement = f"SELECT FROM convostore.{table} AS t WHERE {BIND_TENANT} AND t.tenant_id = $2"
        assert await connection.fetch(statement, OTHER, tenant) == [], table
        assert await connection.fetch(statement, tenant, OTHER) == [], table


async def test_a_statement_changes_only_rows_of_the_tenant_that_it_binds(
    connection: Any, tables: list[str], tenant: UUID
) -> None:
    for table in set(tables) - SPARED:
        for change in (
            f"UPDATE convostore.{table} AS t SET tenant_id = t.tenant_id",
            f"DELETE FROM convostore.{table}",
        ):
            changed = await connection.fetch(f"{change} WHERE {BIND_TENANT} RETURNING tenant_id", OTHER)
            assert changed == [], change


async def test_nothing_stays_bound_after_a_statement_however_it_ends(
    connection: Any, tables: list[str], tenant: UUID
) -> None:
    bound = f"SELECT 1 / $2::integer FROM convostore.agent AS t WHERE {BIND_TENANT}"
    assert await connection.fetch(bound, tenant, 1) == [(1,)]
    assert await is_unbound(connection, tables)
    with pytest.raises(asyncpg.DivisionByZeroError):
        await connection.fetch(bound, tenant, 0)
    assert await is_unbound(connection, tables)
    for end in ("COMMIT", "ROLLBACK"):
        await connection.execute("BEGIN")
        assert await connection.fetch(bound, tenant, 1) == [(1,)]
        await connection.execute(end)
        assert await is_unbound(connection, tables)
    assert not await connection.fetchval("SELECT current_setting('convostore.tenant', true)")


async def test_every_statement_of_a_transaction_binds_anew(connection: Any, tenant: UUID) -> None:
    bound = f"SELECT t.tenant_id FROM convostore.agent AS t WHERE {BIND_TENANT}"
    async with connection.transaction():
        for asked, seen in ((tenant, [(tenant,)]), (OTHER, []), (tenant, [(tenant,)])):
            assert await connection.fetch(bound, asked) == seen


async def test_audit_items_cannot_be_recorded_for_another_than_the_bound_tenant(pool: asyncpg.Pool[Any]) -> None:
    several = "SELECT convostore.record_audit($2, 'turn', now(), $3, $3, '{1}', $3, $3, '{x}', '{now}', '{x}')"
    one = "SELECT convostore.record_audit_item($2, 'turn', now(), $3, $3, 1, $3, $3, 'x', now(), 'x')"
    for record, ids in ((several, [uuid4()]), (one, uuid4())):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await pool.fetchval(f"{record} WHERE {BIND_TENANT}", OTHER, uuid4(), ids)


async def test_the_tenant_of_a_session_can_be_asked_for_and_nothing_else_of_it(
    connection: Any, admin: Any, tables: list[str], tenant: UUID
) -> None:
    session = await admin.fetchval("SELECT session_id FROM convostore.session WHERE tenant_id = $1", tenant)
    assert await connection.fetchval("SELECT convostore.session_tenant($1)", session) == tenant
    assert await is_unbound(connection, tables)


async def test_binding_to_nobody_is_not_true(connection: Any, tables: list[str]) -> None:
    assert await connection.fetchval("SELECT convostore.bind(NULL)") is None
    assert await is_unbound(connection, tables)
