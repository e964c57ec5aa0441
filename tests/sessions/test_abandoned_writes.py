"""Writes that nobody waits for any more, and that PostgreSQL applies later or never: what `get` returns meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from convostore.embedded import Embedded
from convostore.errors import ConnectionError
from convostore.models import Session
from convostore.postgres import PostgresSessionStore, create_pool
from convostore.redis import create_client
from convostore.testing.factories import make_session
from convostore.tiered import TieredSessionStore
from convostore.tiered.values import Guard
from tests.postgres.blocking import blocking, gone, single, waiting
from tests.postgres.databases import connected
from tests.redis.administration import flush
from tests.sessions.guards import copy_key, pass_time
from tests.sessions.processes import LateRecord

DATABASE = 12
LEASE = timedelta(seconds=0.5)

WRITES: dict[str, Callable[[TieredSessionStore, Session], Awaitable[Any]]] = {
    "save": lambda store, session: store.save(session),
    "overwrite": lambda store, session: store.save(session, overwrite=True),
    "delete": lambda store, session: store.delete(session.session_id, tenant_id=session.tenant_id),
}


@dataclass
class World:
    """Two processes, one of which writes and the other reads.

    Attributes:
        written: lets PostgreSQL apply what the first process writes.
    """

    writer: TieredSessionStore
    late: LateRecord
    written: asyncio.Event
    reader: TieredSessionStore
    client: Redis

    async def get(self, session: Session) -> Session | None:
        """Read a session as the other process does, and let it promote what it read."""
        found = await self.reader.get(session.session_id)
        await self.reader._promotions.background.drain()
        return found

    async def copied(self, session: Session) -> float:
        """Return how many seconds the copy of a session has to live; 0 if there is none."""
        return max(0, await self.client.pttl(copy_key(session.session_id))) / 1_000

    async def truth(self, session: Session) -> Session | None:
        """Return a session as PostgreSQL has it after it has applied or refused everything."""
        self.written.set()
        await asyncio.gather(*self.late.applying, return_exceptions=True)
        return await self.late.get(session.session_id)


@pytest.fixture
async def world(engines: Embedded) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(create_client(f"{engines.redis_url}?db={DATABASE}"))
        await flush(client)
        pool = await stack.enter_async_context(await create_pool(engines.postgres_dsn))
        late, written = LateRecord(pool), asyncio.Event()
        records = (late, PostgresSessionStore(pool))
        writer, reader = (
            TieredSessionStore(client, record, hot_lease=LEASE, hot_timeout=60.0, timeout=60.0) for record in records
        )
        for store in (writer, reader):
            stack.push_async_callback(store.aclose)
        yield World(writer, late, written, reader, client)
        written.set()
        await asyncio.gather(*late.applying, return_exceptions=True)


@pytest.fixture
async def session(world: World) -> Session:
    """A session with a copy, whose next write is late."""
    session = make_session(uuid4())
    await world.writer.save(session)

    async def late(_: float) -> None:
        await world.written.wait()

    world.late.late = late
    return session


def guard_of(session: Session) -> Guard:
    return Guard(session.session_id, session.tenant_id, "")


async def abandon(world: World, write: str, session: Session) -> None:
    """Write until the deadline, in vain."""
    with pytest.raises(ConnectionError) as late:
        await WRITES[write](world.writer.within(0.5), session.model_copy(deep=True))
    assert late.value.outcome == "unknown"


@pytest.mark.parametrize("write", WRITES)
async def test_until_its_token_expires_no_copy_hides_what_an_abandoned_write_does(
    world: World, session: Session, write: str
) -> None:
    await abandon(world, write, session)
    for _ in range(3):
        assert await world.get(session) == session
        assert await world.copied(session) == 0
    truth = await world.truth(session)
    assert truth != session
    assert await world.get(session) == truth
    assert await world.copied(session) == 0


@pytest.mark.parametrize("write", WRITES)
async def test_a_copy_is_behind_what_an_abandoned_write_does_for_a_lease_at_most(
    world: World, session: Session, write: str
) -> None:
    await abandon(world, write, session)
    assert await pass_time(world.client, guard_of(session), 60.0)
    for _ in range(2):
        await world.reader.demote_to_persistent(session.session_id)
        assert await world.get(session) == session
        assert 0 < await world.copied(session) <= LEASE.total_seconds()
    truth = await world.truth(session)
    assert truth != session
    await asyncio.sleep(LEASE.total_seconds())
    assert await world.get(session) == truth


async def test_after_a_later_save_an_abandoned_one_shortens_no_copy(world: World, session: Session) -> None:
    await abandon(world, "save", session)
    assert await pass_time(world.client, guard_of(session), 60.0)
    await world.reader.save(session)
    assert await world.copied(session) > 60.0
    assert await world.truth(session) == session
    assert await world.get(session) == session


@pytest.mark.parametrize("write", ["overwrite", "delete"])
async def test_after_a_later_save_an_abandoned_write_of_any_revision_still_shortens_copies(
    world: World, session: Session, write: str
) -> None:
    await abandon(world, write, session)
    assert await pass_time(world.client, guard_of(session), 60.0)
    await world.reader.save(session)
    assert 0 < await world.copied(session) <= LEASE.total_seconds()
    truth = await world.truth(session)
    assert truth != session
    await asyncio.sleep(LEASE.total_seconds())
    assert await world.get(session) == truth


async def test_a_cancelled_save_keeps_copies_away_for_as_long_as_a_late_one(world: World, session: Session) -> None:
    begun = asyncio.Event()

    async def late(_: float) -> None:
        begun.set()
        await world.written.wait()

    world.late.late = late
    saving = asyncio.create_task(world.writer.within(2.0).save(session.model_copy(deep=True)))
    await begun.wait()
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert await world.get(session) == session
    assert await world.copied(session) == 0
    truth = await world.truth(session)
    assert await world.get(session) == truth
    assert await world.copied(session) == 0
    assert await pass_time(world.client, guard_of(session), 2.0 + 5.0 + 1.0)
    assert await world.get(session) == truth
    assert await world.copied(session) > 60.0


@pytest.mark.parametrize("write", WRITES)
async def test_postgresql_does_not_apply_what_it_was_frozen_over(
    engines: Embedded, world: World, session: Session, write: str
) -> None:
    row = "SELECT FROM convostore.session WHERE session_id = $1 FOR UPDATE"
    async with single(engines.postgres_dsn) as (pool, pid), connected(engines.postgres_dsn) as admin:
        writer = TieredSessionStore(world.client, PostgresSessionStore(pool), hot_timeout=60.0)
        async with blocking(engines.postgres_dsn, row, session.session_id):
            writing = asyncio.ensure_future(WRITES[write](writer.within(1.0), session.model_copy(deep=True)))
            await waiting(admin, pid)
            os.kill(pid, signal.SIGSTOP)
            try:
                with pytest.raises(ConnectionError) as late:
                    await writing
                assert late.value.outcome == "unknown"
            finally:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        await gone(admin, pid)
        assert await world.get(session) == session
        assert await world.late.get(session.session_id) == session
