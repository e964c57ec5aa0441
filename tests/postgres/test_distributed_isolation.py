"""Row-level security where tables are distributed: what two tenants on one shard reach of each other's rows.

By a stand-in for Citus on one server; `tests/citus` runs the same on Citus.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import asyncpg
import pytest

from convostore.postgres import create_pool
from tests.postgres.conftest import TABLES
from tests.postgres.databases import NO_TENANT, connected
from tests.postgres.filled import fill
from tests.postgres.test_distributed_form import Pool
from tests.postgres.test_isolation import AUDIT, counts

BOUND = "(SELECT convostore.bind(v.t) FROM (SELECT $1::uuid AS t OFFSET 0) AS v) AND t.tenant_id = $2"
"""The condition of a statement that is bound to one tenant, and asks for the rows of the same or another one."""

COLUMN = """
SELECT quote_ident(a.attname) FROM pg_attribute AS a
WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND a.attgenerated = '' AND NOT a.attisdropped
  AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = a.attrelid AND a.attnum = ANY (i.indkey))
LIMIT 1
"""
"""A column that may be written, and is in no key."""

SHARD = "SELECT get_shard_id_for_distribution_column('convostore.agent', $1::uuid)"


class Neighbours(NamedTuple):
    """Two tenants with a row in every table, on one shard."""

    own: UUID
    other: UUID


@pytest.fixture(scope="module")
async def pool(prepared: str) -> AsyncIterator[Pool]:
    async with await create_pool(prepared) as opened:
        yield opened


@pytest.fixture(scope="module")
async def tables(prepared: str) -> list[str]:
    """Every table of the schema that holds a tenant's data."""
    async with connected(prepared) as admin:
        return [name for (name,) in await admin.fetch(TABLES, NO_TENANT)]


@pytest.fixture(scope="module")
async def neighbours(prepared: str, pool: Pool) -> Neighbours:
    own, other = uuid4(), uuid4()
    async with connected(prepared) as admin:
        while await admin.fetchval(SHARD, own) != await admin.fetchval(SHARD, other):
            other = uuid4()
    return Neighbours(await fill(pool, own), await fill(pool, other))


@pytest.fixture(params=["convostore_app", "convostore_maintenance"])
async def attacker(prepared: str, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """A connection of each role that the stores or their upkeep run as."""
    async with connected(prepared, role=request.param) as connection:
        yield connection


async def reads(connection: Any, table: str, bound: UUID, rows_of: UUID) -> int:
    """Return how many rows of a tenant a statement reads that is bound to one."""
    count: int = await connection.fetchval(
        f'SELECT count(*) FROM convostore."{table}" AS t WHERE {BOUND}', bound, rows_of
    )
    return count


async def set_tenant(connection: Any, tenant: UUID) -> None:
    """Set the tenant of row-level security for the rest of a transaction."""
    await connection.execute(f"SET LOCAL convostore.tenant = '{tenant}'")


async def test_no_row_is_seen_without_a_tenant(attacker: Any, tables: list[str], neighbours: Neighbours) -> None:
    assert set((await counts(attacker, tables)).values()) == {0}


async def test_a_statement_reads_rows_of_its_tenant_alone_and_leaves_nothing_bound(
    attacker: Any, tables: list[str], neighbours: Neighbours
) -> None:
    own, other = neighbours
    for table in tables:
        for _ in range(2):
            assert await reads(attacker, table, own, own) > 0
            assert await reads(attacker, table, own, other) == 0
    assert set((await counts(attacker, tables)).values()) == {0}


@pytest.mark.parametrize("statement", ["UPDATE", "DELETE"])
async def test_a_statement_writes_no_row_of_another_tenant(
    attacker: Any, tables: list[str], neighbours: Neighbours, statement: str
) -> None:
    own, other = neighbours
    for table in sorted({*tables} - {*AUDIT, "scenario_archive"}):
        name = f'convostore."{table}"'
        column = await attacker.fetchval(COLUMN, name)
        if statement == "DELETE":
            written = f"DELETE FROM {name} AS t WHERE {BOUND}"
        elif column is None:
            continue
        else:
            written = f"UPDATE {name} AS t SET {column} = t.{column} WHERE {BOUND}"
        assert await attacker.execute(written, own, other) == f"{statement} 0"
        await attacker.execute("BEGIN")
        assert await attacker.execute(written, other, other) != f"{statement} 0"
        assert await attacker.execute(written, own, other) == f"{statement} 0"
        await attacker.execute("ROLLBACK")


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
async def test_a_transaction_sees_rows_of_its_tenant_alone_and_leaves_nothing_bound(
    attacker: Any, tables: list[str], neighbours: Neighbours, end: str
) -> None:
    own, other = neighbours
    await attacker.execute("BEGIN")
    await set_tenant(attacker, own)
    for table in tables:
        assert await attacker.fetch(f'SELECT DISTINCT tenant_id FROM convostore."{table}"') == [(own,)]
    assert await reads(attacker, "agent", other, own) == 0
    await attacker.execute(end)
    assert set((await counts(attacker, tables)).values()) == {0}


async def test_the_owner_of_the_tables_sees_no_row(prepared: str, tables: list[str], neighbours: Neighbours) -> None:
    async with connected(prepared, role="convostore_owner") as owner, owner.transaction():
        await set_tenant(owner, neighbours.own)
        assert set((await counts(owner, tables)).values()) == {0}


async def test_a_row_cannot_be_moved_to_another_tenant(
    attacker: Any, tables: list[str], neighbours: Neighbours
) -> None:
    own, other = neighbours
    for table in tables:
        with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.FeatureNotSupportedError)):
            await attacker.execute(
                f'UPDATE convostore."{table}" AS t SET tenant_id = $3 WHERE {BOUND}', own, own, other
            )


async def test_records_of_the_audit_trail_are_neither_changed_nor_deleted(
    attacker: Any, neighbours: Neighbours
) -> None:
    for statement in (
        *(f"DELETE FROM convostore.{table}" for table in AUDIT),
        "UPDATE convostore.audit_record SET sequence = sequence",
        "UPDATE convostore.audit_body SET content = content",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
            await attacker.execute(statement)
