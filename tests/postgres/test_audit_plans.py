"""Audit queries on filled tables: plans use indexes that start with the tenant, and streams need little memory."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID, uuid4
from weakref import ReferenceType, ref

import asyncpg
import pytest

from convostore.call.paging import PAGE
from convostore.embedded import Embedded
from convostore.models.base import Model
from convostore.postgres import PostgresAuditStore, create_pool
from convostore.postgres.audit import listing
from convostore.postgres.queries import queries
from convostore.testing.audit.retention import on
from convostore.testing.factories import at, make_event, make_turn
from tests.postgres.databases import connected

TENANT, SESSION, ID = UUID(int=77), UUID(int=78), UUID(int=79)
MOMENT = at(50)
FILLED = ["audit_record", "audit_head", "audit_body_2020_05", "audit_body_2020_06"]

VALUES = {
    "event_type": "type 3",
    "session_id": SESSION,
    "turn_id": ID,
    "customer_profile_id": ID,
    "since": at(0),
    "until": at(1_000),
}
SHAPES = [(), ("since",), ("since", "until"), ("event_type",), ("session_id",), ("turn_id",)]
SHAPES += [("event_type", "session_id"), ("event_type", "since"), ("session_id", "since", "until")]

LISTS = [
    (f"{kind} {' '.join(shape)}{' after' * after}", listing(kind, shape, after=after), shape, after)
    for kind in ("turn", "event")
    for shape in (*(SHAPES if kind == "event" else SHAPES[:3]), ("customer_profile_id",))
    for after in (False, True)
]
PAGE_OF = {"tenant_id": TENANT, "limit": 100, "offset": 0}
NAMED: dict[str, tuple[Any, ...]] = {
    "body": queries("audit").body(tenant_id=TENANT, kind="turn", record_id=ID),
    "turns_of_session": queries("audit").turns_of_session(**PAGE_OF, session_id=SESSION, after_number=-1),
    "heads": queries("audit").heads(
        **PAGE_OF, with_own=True, first_session=UUID(int=0), after_session=None, last_session=UUID(int=2**128 - 1)
    ),
    "bodies": queries("audit").bodies(**PAGE_OF, after_kind="turn", after_id=ID, after_recorded_at=MOMENT),
    "records": queries("audit").records(
        **PAGE_OF, after_own=0, after_session=UUID(int=0), after_sequence=0, last_session=UUID(int=2**128 - 1)
    ),
}
STATEMENTS: dict[str, tuple[Any, ...]] = {
    **{
        name: (text, TENANT, 100, 0, *((MOMENT, ID) * after), *map(VALUES.get, shape))
        for name, text, shape, after in LISTS
    },
    **NAMED,
}


@pytest.fixture(scope="module")
async def filled(server: Embedded, pool: asyncpg.Pool[Any]) -> None:
    """Two months of a tenant among others, analysed."""
    store = PostgresAuditStore(pool)
    if await store.list_turns_by_session(TENANT, SESSION, limit=1):
        return  # There are as many servers as versions, and each is asked for more than once.
    for tenant in (TENANT, uuid4()):
        for month in (5, 6):
            then, sessions = on(store, 2020, month), [SESSION, *(uuid4() for _ in range(9))]
            await then.save_turns([make_turn(tenant) for _ in range(500)])
            for session in sessions:
                first = 100 * month
                await then.save_turns(
                    [make_turn(tenant, session_id=session, turn_number=first + n, timestamp=at(n)) for n in range(100)]
                )
                await then.save_events(
                    [
                        make_event(tenant, session_id=session, event_type=f"type {n}", turn_id=uuid4(), timestamp=at(n))
                        for n in range(100)
                    ]
                )
            await then.save_events([make_event(tenant) for _ in range(500)])
    async with connected(server.postgres_dsn) as admin:
        await admin.execute("ANALYZE convostore.audit_body, convostore.audit_record, convostore.audit_head")


@pytest.fixture(scope="module", params=["auto", "force_generic_plan"])
async def planning(server: Embedded, filled: None, request: pytest.FixtureRequest) -> AsyncIterator[asyncpg.Pool[Any]]:
    """A pool that plans for values, and one that plans for any."""
    async with await create_pool(server.postgres_dsn, settings={"plan_cache_mode": request.param}) as opened:
        yield opened


def scans(plan: Any) -> list[tuple[str, str, str]]:
    """Return the tables that a plan scans: how, by which condition, and which table."""
    found = []
    if "Relation Name" in plan and plan["Relation Name"].startswith("audit_"):
        found.append((plan["Node Type"], plan.get("Index Cond", ""), plan["Relation Name"]))
    for inner in plan.get("Plans", []):
        found += scans(inner)
        if plan["Node Type"] == "Bitmap Heap Scan":
            # Its condition stands with the index scan below it.
            found[0] = (*found[0][:1], inner.get("Index Cond", ""), found[0][2])
    return found


@pytest.mark.parametrize("name", STATEMENTS)
async def test_a_query_reads_by_an_index_that_starts_with_the_tenant(planning: asyncpg.Pool[Any], name: str) -> None:
    statement, *values = STATEMENTS[name]
    async with planning.acquire() as connection:
        plan = await connection.fetchval(f"EXPLAIN (FORMAT json) {statement}", *values)
    found = [scan for scan in scans(json.loads(plan)[0]["Plan"]) if scan[2] in FILLED]
    assert found
    for kind, condition, table in found:
        assert kind in ("Index Scan", "Index Only Scan", "Bitmap Heap Scan"), (kind, table)
        assert "tenant_id = " in condition, (table, condition)


async def test_a_body_is_read_from_one_partition(filled: None, pool: asyncpg.Pool[Any]) -> None:
    store = PostgresAuditStore(pool)
    (turn,) = await store.list_turns_by_session(TENANT, SESSION, limit=1)
    statement, *values = queries("audit").body(tenant_id=TENANT, kind="turn", record_id=turn.turn_id)
    async with pool.acquire() as connection:
        text = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT json) {statement}", *values)

    def executed(plan: Any) -> list[str]:
        own = [plan["Relation Name"]] if plan.get("Actual Loops") and "Relation Name" in plan else []
        return own + [name for inner in plan.get("Plans", []) for name in executed(inner)]

    assert executed(json.loads(text)[0]["Plan"]) == ["audit_record", "audit_body_2020_05"]


Stream = Callable[[PostgresAuditStore, UUID], AsyncIterator[Model]]
STREAMS: dict[str, Stream] = {
    "turns of a session": lambda store, tenant: store.iter_turns_by_session(tenant, SESSION),
    "turns of a tenant": lambda store, tenant: store.iter_turns_by_tenant(tenant),
    "events": lambda store, tenant: store.iter_events(tenant),
    "records": lambda store, tenant: store.iter_records(tenant),
}


@pytest.fixture(scope="module")
async def long(pool: asyncpg.Pool[Any]) -> UUID:
    """A tenant with a thousand turns and events."""
    store, tenant = PostgresAuditStore(pool), uuid4()
    await store.save_turns([make_turn(tenant, session_id=SESSION, turn_number=n) for n in range(1_000)])
    await store.save_events([make_event(tenant, session_id=SESSION) for _ in range(1_000)])
    return tenant


@pytest.mark.parametrize("stream", STREAMS)
async def test_a_stream_holds_two_pages_whatever_its_length(long: UUID, pool: asyncpg.Pool[Any], stream: str) -> None:
    seen: list[ReferenceType[Model]] = []
    most = 0
    async for item in STREAMS[stream](PostgresAuditStore(pool), long):
        seen.append(ref(item))
        if len(seen) % 100 == 0:
            most = max(most, sum(one() is not None for one in seen))
    assert len(seen) >= 1_000
    assert most <= 2 * PAGE


async def test_a_month_without_statistics_is_read_by_its_primary_key(pool: asyncpg.Pool[Any]) -> None:
    store, turn = on(PostgresAuditStore(pool), 2017, 3), make_turn(uuid4())
    await store.save_turn(turn)
    page = {"tenant_id": turn.tenant_id, "limit": 100, "offset": 0}
    async with pool.acquire() as connection:
        for statement, *values in (
            queries("audit").body(tenant_id=turn.tenant_id, kind="turn", record_id=turn.turn_id),
            queries("audit").turns_of_session(**page, session_id=turn.session_id, after_number=-1),
        ):
            text = await connection.fetchval(f"EXPLAIN (FORMAT json) {statement}", *values)
            assert '"audit_body_2017_03_pkey"' in text
            assert set(re.findall(r'"Index Name": "audit_body_\d+_\d+_(\w+)"', text)) == {"pkey"}
