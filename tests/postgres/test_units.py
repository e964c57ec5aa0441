"""A unit of work in PostgreSQL: the order of its locks, deadlines, cancellation and one connection, in both forms."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from convostore.contracts import TurnStore, UnitOfWork
from convostore.embedded import Embedded
from convostore.errors import ConnectionError, NotFoundError, ValidationError
from convostore.postgres import PostgresAuditStore, create_pool
from convostore.postgres.database import Database
from convostore.postgres.transaction import Transaction, in_transaction
from convostore.testing.factories import (
    make_episode,
    make_event,
    make_field,
    make_profile,
    make_session,
    make_turn,
)
from tests.counting import Counted
from tests.postgres.blocking import blocking, gone, single, waiting
from tests.postgres.composing import turns_on
from tests.postgres.databases import connected

pytestmark = pytest.mark.slow

ROWS = {
    "session": "SELECT FROM convostore.session WHERE tenant_id = $1 FOR UPDATE",
    "profile": "SELECT FROM convostore.profile WHERE tenant_id = $1 FOR UPDATE",
    "head": "SELECT FROM convostore.audit_head WHERE tenant_id = $1 FOR UPDATE",
}
"""What a unit locks that others lock too, in its order."""

FORMS = pytest.mark.parametrize("form", ["one statement", "transaction"])


class Conversation:
    """A session, its customer and its chain, and units of them."""

    def __init__(self, store: TurnStore, form: str) -> None:
        self.store = store
        self.form = form
        self.session = make_session(uuid4())
        self.tenant = self.session.tenant_id
        self.profile = make_profile(self.tenant)

    async def save(self) -> None:
        """Store all that a unit finds."""
        await self.store.sessions.save(self.session)
        await self.store.profiles.save_profile(self.profile)
        await self.store.audit.save_event(make_event(self.tenant, session_id=self.session.session_id))

    async def commit(self, timeout: float = 60.0) -> None:
        """Commit a unit of all that is here."""
        async with self.store.within(timeout).unit_of_work(self.tenant) as work:
            self.fill(work)

    def fill(self, work: UnitOfWork) -> None:
        """Put everything into a unit."""
        work.save_session(self.session)
        work.update_field(self.profile.id, make_field())
        if self.form == "transaction":
            work.update_field(self.profile.id, make_field())  # The same name twice.
        work.add_episodes([make_episode(self.tenant, self.session.agent_id)])
        work.save_turn(make_turn(self.tenant, session_id=self.session.session_id))

    async def stored(self) -> tuple[int, int, int, int]:
        """Return the revisions of session and profile, and how many episodes and records there are."""
        session = await self.store.sessions.get(self.session.session_id)
        profile = await self.store.profiles.get_profile(self.tenant, self.profile.id)
        assert session is not None
        assert profile is not None
        episodes = await self.store.memory.get_episodes(self.tenant, self.session.agent_id)
        return session.revision, profile.revision, len(episodes), len(await self.store.audit.list_records(self.tenant))


async def is_locked(admin: Any, row: str, tenant: UUID) -> bool:
    try:
        await admin.fetch(f"{ROWS[row]} NOWAIT", tenant)
    except asyncpg.LockNotAvailableError:
        return True
    return False


@FORMS
@pytest.mark.parametrize("held", ROWS)
async def test_locks_are_taken_in_one_order(engines: Embedded, form: str, held: str) -> None:
    order = [*ROWS]
    async with single(engines.postgres_dsn) as (pool, pid), connected(engines.postgres_dsn) as admin:
        there = Conversation(turns_on(pool), form)
        await there.save()
        async with blocking(engines.postgres_dsn, ROWS[held], there.tenant) as blocker:
            committing = asyncio.create_task(there.commit())
            await waiting(admin, pid)
            found = [row for row in ROWS if await is_locked(admin, row, there.tenant)]
            await blocker.let_go()
            await committing
        assert found == order[: order.index(held) + 1]
        assert await there.stored() == (2, 2 if form == "one statement" else 3, 1, 2)


@FORMS
async def test_a_unit_that_is_cancelled_while_it_waits_leaves_nothing(engines: Embedded, form: str) -> None:
    async with single(engines.postgres_dsn) as (pool, pid), connected(engines.postgres_dsn) as admin:
        there = Conversation(turns_on(pool), form)
        await there.save()
        async with blocking(engines.postgres_dsn, ROWS["head"], there.tenant):
            committing = asyncio.create_task(there.commit())
            await waiting(admin, pid)
            committing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await committing
            await gone(admin, pid)
        assert await there.stored() == (1, 1, 0, 1)
        await there.commit()
        assert there.session.revision == 2


@FORMS
async def test_a_unit_whose_deadline_passes_while_it_waits_leaves_nothing(engines: Embedded, form: str) -> None:
    async with single(engines.postgres_dsn) as (pool, pid), connected(engines.postgres_dsn) as admin:
        there = Conversation(turns_on(pool), form)
        await there.save()
        async with blocking(engines.postgres_dsn, ROWS["head"], there.tenant) as blocker:
            with pytest.raises(ConnectionError) as caught:
                await there.commit(0.3)
            await blocker.let_go()
        assert (caught.value.code, caught.value.outcome) == ("timeout", "unknown")
        await gone(admin, pid)
        assert await there.stored() == (1, 1, 0, 1)


async def test_a_transaction_does_not_commit_after_its_deadline(engines: Embedded) -> None:
    async with single(engines.postgres_dsn) as (pool, _):
        there, record = Conversation(turns_on(pool), "transaction"), PostgresAuditStore._record
        await there.save()

        async def record_late(self: Any, *args: Any) -> None:
            await record(self, *args)
            clocks = self._database._clocks
            clocks.update({each: (moment, at + 60) for each, (moment, at) in [*clocks.items()]})

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(PostgresAuditStore, "_record", record_late)
            with pytest.raises(ConnectionError) as caught:
                await there.commit(30)
        assert caught.value.code == "57014"
        assert await there.stored() == (1, 1, 0, 1)


async def test_units_on_the_same_rows_in_opposite_order_do_not_deadlock(engines: Embedded) -> None:
    async with await create_pool(engines.postgres_dsn, max_size=8) as pool:
        store, tenant, counted = turns_on(pool).within(60), uuid4(), Counted()
        sessions = [make_session(tenant).session_id for _ in range(4)]
        profiles = [make_profile(tenant) for _ in range(3)]
        for profile in profiles:
            await store.profiles.save_profile(profile)

        async def commit(number: int) -> None:
            turned = slice(None, None, 1 if number % 2 else -1)
            async with store.unit_of_work(tenant) as work:
                for session_id in sessions[turned]:
                    work.save_event(make_event(tenant, session_id=session_id))
                    work.save_turn(make_turn(tenant, session_id=session_id, turn_number=number))
                for profile in profiles[turned] if number % 3 else ():
                    work.update_field(profile.id, make_field())
                if number % 5 == 0:
                    for session_id in sessions[turned]:
                        work.save_session(make_session(tenant, session_id=session_id), overwrite=True)

        await asyncio.gather(*map(commit, range(40)))
        assert counted["convostore.call.retries"] == {}
        assert len(await store.audit.list_records(tenant, limit=1_000)) == 320
        assert (await store.audit.verify(tenant)).ok


@FORMS
async def test_a_refusal_costs_no_connection(engines: Embedded, form: str) -> None:
    async with single(engines.postgres_dsn) as (pool, pid):
        there = Conversation(turns_on(pool), form)
        await there.store.sessions.save(there.session)
        for _ in range(3):
            with pytest.raises(NotFoundError):
                await there.commit()
        assert await pool.fetchval("SELECT pg_backend_pid()") == pid


async def test_a_month_without_partition_is_made_beside_the_unit(engines: Embedded) -> None:
    async with await create_pool(engines.postgres_dsn) as pool:
        moment, turn = datetime(1931, 5, 1, tzinfo=UTC), make_turn(uuid4())
        store = turns_on(pool, clock=lambda: moment)
        async with store.unit_of_work(turn.tenant_id) as work:
            work.save_turn(turn)
        (record,) = await store.audit.list_records(turn.tenant_id)
        assert record.recorded_at == moment


async def write_within(outer: Transaction, *values: int) -> None:
    """Write values in a transaction within another; it takes none below 0."""
    async with in_transaction(outer) as inner:
        for value in values:
            await inner.fetch("INSERT INTO written VALUES (sqrt($1))", value)


async def test_a_transaction_within_another_leaves_nothing_when_it_fails(engines: Embedded) -> None:
    async with single(engines.postgres_dsn) as (pool, _), pool.acquire() as connection, connection.transaction():
        outer = Transaction(Database(pool), connection)
        await outer.fetch("CREATE TEMPORARY TABLE written (n integer) ON COMMIT DROP")
        for value in (1, 2):
            await outer.fetch("INSERT INTO written VALUES ($1)", value)
            with pytest.raises(ValidationError):
                await write_within(outer, 9, 16, -1)
        await write_within(outer, 25, 36)
        assert [n for (n,) in await outer.fetch("TABLE written")] == [1, 2, 5, 6]
