"""What a call reads does not grow with the data of other tenants: rows and pages of each statement, without a clock.

Each statement of each call is first explained with its parameters, in a transaction that is rolled back, and then run.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from uuid import uuid4

import asyncpg
import pytest

from convostore.call.store import Store
from convostore.embedded import Embedded
from convostore.postgres import (
    PostgresAuditStore,
    PostgresConfigStore,
    PostgresMemoryStore,
    PostgresProfileStore,
    PostgresSessionStore,
    PostgresTurnStore,
    create_pool,
    migrate,
)
from convostore.postgres.driver import pipelines
from convostore.postgres.gathering import GatheredWrites
from convostore.postgres.queries import queries
from convostore.testing.factories import make_event, make_rule, make_session
from tests.postgres.databases import connected, fresh_database
from tests.postgres.filled import fill
from tests.postgres.test_plans import ROWS, multiply
from tests.postgres.test_queries import NAMED
from tests.round_trips import calls
from tests.round_trips.metering import Measured, metered, unmetered
from tests.round_trips.turns import turns as call_turns

FEW, MANY = 400, 4_000
"""Other tenants with something in every table, before and after they grow tenfold."""

READING = re.compile(r"\s*(SELECT|WITH|INSERT|UPDATE|DELETE)\b")


class Read(NamedTuple):
    """What a statement reads: rows by scans, pages, how often it descends an index; and its planning, in ms."""

    rows: float
    pages: int
    descents: float
    planning: float


class Plans:
    """Explains what is sent during a call."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str, str], Read] = {}
        self.call: tuple[str, str] | None = None

    @asynccontextmanager
    async def measuring(self, call: Measured, store: Store) -> AsyncIterator[None]:
        """Explain the statements of a block."""
        self.call = f"{store.kind}.{call.method}", call.case
        try:
            yield
        finally:
            self.call = None

    async def explain(self, connection: Any, query: str, send: Any) -> None:
        """Note what a statement reads, by sending it explained."""
        if self.call is None or not READING.match(query):
            return
        begin, undo = ("SAVEPOINT e", "ROLLBACK TO e") if connection.is_in_transaction() else ("BEGIN", "ROLLBACK")
        await connection.execute(begin)
        try:
            (row,) = await send(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {query}")
        finally:
            await connection.execute(undo)
        explained = json.loads(row[0])[0]
        top = explained["Plan"]
        nodes = [*_nodes(top)]
        read = Read(
            sum(_rows(node) for node in nodes if "Relation Name" in node and "Scan" in node["Node Type"]),
            top["Shared Hit Blocks"] + top["Shared Read Blocks"],
            sum(node["Actual Loops"] for node in nodes if "Index Name" in node),
            explained["Planning Time"],
        )
        key = (*self.call, query)
        self.found[key] = max(self.found.get(key, read), read)


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("Plans", []):
        yield from _nodes(inner)


def _rows(node: dict[str, Any]) -> float:
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    read: float = (node["Actual Rows"] + removed) * node["Actual Loops"]
    return read


async def reads(
    pool: Any, maintenance: Any, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> dict[tuple[str, str, str], Read]:
    """Call every method for new tenants; return what each statement of it reads."""
    plans = Plans()
    execute = asyncpg.Connection._execute  # type: ignore[attr-defined]
    execute_many = asyncpg.Connection._executemany  # type: ignore[attr-defined]

    async def explained(self: Any, query: str, args: Any, limit: int, timeout: float | None, **more: Any) -> Any:
        async def send(text: str) -> Any:
            return await execute(self, text, args, 0, timeout)

        await plans.explain(self, query, send)
        return await execute(self, query, args, limit, timeout, **more)

    async def explained_many(self: Any, query: str, args: Any, timeout: float | None, **more: Any) -> Any:
        each = [*args]

        async def send(text: str) -> Any:
            return await execute(self, text, each[-1], 0, timeout)

        await plans.explain(self, query, send)
        return await execute_many(self, query, each, timeout, **more)

    with monkeypatch.context() as patched:
        patched.setattr(asyncpg.Connection, "_execute", explained)
        patched.setattr(asyncpg.Connection, "_executemany", explained_many)
        patched.setattr(GatheredWrites, "few", 1)
        await call_everything(pool, maintenance, plans)
        plans.call = "test", "together"
        await _together(pool)
        together = sum(query.endswith("::int AS n") or "::int AS n FROM" in query for _, _, query in plans.found)
        async with pool.acquire() as connection:
            assert (together >= 5) == pipelines(connection)
        plans.call = UNSCOPED[:2]
        await admin.fetch(UNSCOPED[2])
    return plans.found


async def call_everything(pool: Any, maintenance: Any, meter: Any) -> None:
    """Call every method for new tenants, each measured."""

    def store(kind: Any, pool: Any) -> Any:
        return metered(kind(pool, timeout=60), meter)

    await calls.sessions(store(PostgresSessionStore, pool))
    await calls.config(store(PostgresConfigStore, pool))
    await calls.memory(store(PostgresMemoryStore, pool))
    await calls.profiles(store(PostgresProfileStore, pool))
    await calls.audit(store(PostgresAuditStore, pool), store(PostgresAuditStore, maintenance))
    kinds = (
        PostgresSessionStore,
        PostgresConfigStore,
        PostgresMemoryStore,
        PostgresAuditStore,
        PostgresProfileStore,
    )
    of_turns: list[Any] = [kind(pool, timeout=60) for kind in kinds]
    await call_turns(metered(PostgresTurnStore(*of_turns), meter))
    await _system_of_record(store(PostgresSessionStore, pool))


async def _system_of_record(store: Any) -> None:
    """Call what sessions in two tiers ask of it besides, and by a given tenant."""
    session = make_session(uuid4())
    await unmetered(store).save(session)
    of_tenant = {"tenant_id": session.tenant_id}
    await store.load(session.session_id)
    await store.load(session.session_id, session.tenant_id)
    await store.acquire_lock(session.session_id, owner := uuid4(), **of_tenant)
    await store.release_lock(session.session_id, owner, **of_tenant)
    await store.generation(session.tenant_id)
    await store.invalidate_copies(session.tenant_id)


@pytest.mark.slow
async def test_what_a_call_reads_does_not_grow_with_other_tenants(
    server: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fresh_database(server.postgres_dsn) as dsn:
        await migrate(dsn)
        async with (
            await create_pool(dsn, max_size=1) as pool,
            await create_pool(dsn, max_size=1, role="convostore_maintenance") as maintenance,
            connected(dsn, session_replication_role="replica") as admin,
        ):
            tenants = [await fill(pool) for _ in range(ROWS)]
            await multiply(admin, tenants, range(1, FEW + 1))
            few = await reads(pool, maintenance, admin, monkeypatch)
            await multiply(admin, tenants, range(FEW + 1, MANY + 1))
            many = await reads(pool, maintenance, admin, monkeypatch)
    assert few.keys() == many.keys()
    grown = {key: (before, many[key]) for key, before in few.items() if _grows(before, many[key])}
    assert grown.keys() == {UNSCOPED}, grown
    read = {query for _, _, query in many}
    assert {f"{file}.{name}" for file, name in NAMED if getattr(queries(file), name).sql not in read} == OTHERS


async def _together(pool: Any) -> None:
    """Save at once what travels together: new rows, then their next revisions, and records."""
    sessions, config = PostgresSessionStore(pool, timeout=60), PostgresConfigStore(pool, timeout=60)
    audit = PostgresAuditStore(pool, timeout=60)
    # The first call of a store finds out what its server can do.
    await sessions.save(make_session(uuid4()))
    await config.save_rule(make_rule(uuid4(), uuid4()))
    await audit.save_event(make_event(uuid4()))
    saved, rules = [make_session(uuid4()) for _ in range(4)], [make_rule(uuid4(), uuid4()) for _ in range(4)]
    for _ in range(2):
        await asyncio.gather(*map(sessions.save, saved), *map(config.save_rule, rules))
    await asyncio.gather(*(audit.save_event(make_event(uuid4())) for _ in range(4)))


def _grows(before: Read, after: Read) -> bool:
    return after.rows > before.rows + OTHER_ROWS or after.pages > before.pages + before.descents + OTHER_PAGES


OTHER_ROWS = 10
"""Rows that one run may read more than another: dead versions, those of a plan that begins with another table."""
OTHER_PAGES = 50
"""Pages besides one per descent, as a tenfold index is at most a level higher: where there is room for a new row."""
OTHERS = {
    *("overview.locks", "overview.login", "overview.rows", "overview.sizes", "overview.tenants"),
    *("config.get_agent_state", "profile.add_new_assets", "profile.profile_by_id_or_identity"),
    "profile.set_new_fields",
    *("session.delete_old_sessions", "session.old_sessions", "session.tenant_of_session"),
    *("session.open_session", "session.claim_identity", "spaces.lock_embedded", "spaces.store_embeddings"),
}
"""Named queries of operators and sweeps, which concern all tenants, those that are sent as parts of others, and those
that are sent where tables are distributed."""
UNSCOPED = ("test", "without a tenant", "SELECT count(*) FROM convostore.rule WHERE name = 'none'")
"""A statement of which the test must notice that it grows."""
