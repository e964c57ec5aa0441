"""Months: their partitions are made before they are needed, or when they are, and never keep a save from happening."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from convostore.embedded import Embedded
from convostore.inmemory import InMemorySessionStore
from convostore.models.fields import now
from convostore.operations.sweeping import sweep_for_ever
from convostore.postgres import PostgresAuditStore, create_pool
from convostore.testing.audit.retention import on
from convostore.testing.factories import make_turn
from tests.postgres.blocking import blocking, single, waiting
from tests.postgres.databases import connected

MONTHS = """
SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = 'convostore.audit_body'::regclass AND c.relname LIKE $1 ORDER BY 1
"""


async def months(admin: Any, pattern: str) -> list[str]:
    """Return the names of partitions."""
    return [name for (name,) in await admin.fetch(MONTHS, pattern)]


async def test_a_migration_creates_the_partitions_of_this_month_and_the_next_three(admin: Any) -> None:
    year, month = now().year, now().month
    names = [f"audit_body_{year + (month - 1 + n) // 12}_{(month - 1 + n) % 12 + 1:02}" for n in range(4)]
    assert set(names) <= set(await months(admin, "%"))


async def test_concurrent_saves_in_a_month_without_a_partition_create_it_and_three_more(
    admin: Any, pool: asyncpg.Pool[Any]
) -> None:
    store, tenant = on(PostgresAuditStore(pool), 2010, 11), uuid4()
    turns = [make_turn(tenant) for _ in range(10)]
    await asyncio.gather(*map(store.save_turn, turns))
    assert len(await store.list_turns_by_tenant(tenant)) == 10
    assert [*await months(admin, "audit_body_2010%"), *await months(admin, "audit_body_2011%")] == [
        *("audit_body_2010_11", "audit_body_2010_12"),
        *("audit_body_2011_01", "audit_body_2011_02"),
    ]
    assert (await store.verify(tenant)).bodies == 10


async def test_a_month_counts_as_made_once_the_call_that_made_it_has_released_its_locks(
    server: Embedded, admin: Any
) -> None:
    locking = "LOCK TABLE convostore.audit_body IN SHARE UPDATE EXCLUSIVE MODE"
    async with single(server.postgres_dsn) as (pool, pid), blocking(server.postgres_dsn, locking) as maker:
        again = asyncio.create_task(PostgresAuditStore(pool, timeout=60).prepare_months())
        await waiting(admin, pid)
        await maker.let_go()
        assert await again == 0


async def test_a_detached_partition_is_attached_again_by_the_next_save(admin: Any, pool: asyncpg.Pool[Any]) -> None:
    store, tenant, session = on(PostgresAuditStore(pool), 2013, 5), uuid4(), uuid4()
    await store.save_turn(make_turn(tenant, session_id=session))
    await admin.execute("ALTER TABLE convostore.audit_body DETACH PARTITION convostore.audit_body_2013_05")
    assert await store.list_turns_by_session(tenant, session) == []
    await store.save_turn(make_turn(tenant, session_id=session, turn_number=1))
    assert [turn.turn_number for turn in await store.list_turns_by_session(tenant, session)] == [0, 1]
    assert (await store.verify(tenant)).bodies == 2


async def test_a_partition_is_created_without_waiting_for_saves(server: Embedded, pool: asyncpg.Pool[Any]) -> None:
    store = PostgresAuditStore(pool)
    async with connected(server.postgres_dsn) as other, other.transaction():
        await other.execute("LOCK TABLE convostore.audit_body IN ROW EXCLUSIVE MODE")
        assert await on(store, 2015, 1).prepare_months() == 4
        await store.save_turn(make_turn(uuid4()))


async def test_dropping_partitions_fails_rather_than_blocks_saves(server: Embedded, pool: asyncpg.Pool[Any]) -> None:
    store = on(PostgresAuditStore(pool), 1985, 2)
    await store.prepare_months()
    async with (
        await create_pool(
            server.postgres_dsn, role="convostore_maintenance", settings={"lock_timeout": "1min"}
        ) as pool,
        connected(server.postgres_dsn) as other,
        other.transaction(),
    ):
        await other.execute("LOCK TABLE convostore.audit_body_1985_02 IN ACCESS SHARE MODE")
        with pytest.raises(ConnectionError) as refused:
            await PostgresAuditStore(pool, timeout=1).drop_bodies(before=store._clock().replace(month=3))
    assert getattr(refused.value, "code", None) in ("55P03", "timeout")


@pytest.mark.parametrize("function", ["create_audit_months(now(), 3)", "drop_audit_months(now())"])
async def test_no_other_role_creates_or_drops_partitions(server: Embedded, function: str) -> None:
    async with connected(server.postgres_dsn, role="convostore_search") as search:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
            await search.execute(f"SELECT convostore.{function}")


@pytest.mark.parametrize(
    "arguments",
    [
        *("now(), 13", "now(), 2147483647", "now(), -1", "now(), NULL", "NULL, 3", "'infinity', 0", "'-infinity', 0"),
        *("'1899-12-31 23:59:59+00', 0", "now() + interval '1 year 1 day', 0", "'9000-01-01', 3"),
    ],
)
async def test_the_months_that_can_be_created_are_bounded(admin: Any, pool: asyncpg.Pool[Any], arguments: str) -> None:
    before = await months(admin, "%")
    with pytest.raises(asyncpg.InvalidParameterValueError, match="from 1900 to a year from now"):
        await pool.execute(f"SELECT convostore.create_audit_months({arguments})")
    assert await months(admin, "%") == before


async def test_maintenance_cannot_drop_a_month_that_is_not_over(server: Embedded, admin: Any) -> None:
    before = await months(admin, "%")
    async with connected(server.postgres_dsn, role="convostore_maintenance") as maintenance:
        transaction = maintenance.transaction()
        await transaction.start()
        dropped = await maintenance.fetch("SELECT convostore.drop_audit_months('infinity')")
        assert max((month for (month,) in dropped), default=date.min) < now().date().replace(day=1)
        await transaction.rollback()
    assert await months(admin, "%") == before


async def test_the_sweeper_of_open_stores_creates_partitions(server: Embedded) -> None:
    made = asyncio.Event()

    class Watched(PostgresAuditStore):
        async def prepare_months(self) -> int:
            made.set()
            return 0

    async with await create_pool(server.postgres_dsn) as pool:
        upkeep = asyncio.create_task(sweep_for_ever(InMemorySessionStore(), 0.001, Watched(pool)))
        await asyncio.wait_for(made.wait(), 10)
        upkeep.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upkeep
