"""Writes that nobody waits for any more, and that PostgreSQL commits later or never: what `get` returns meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from convostore.embedded import Embedded
from convostore.errors import ConflictError, ConnectionError
from convostore.models import Session
from convostore.postgres import PostgresSessionStore, create_pool
from convostore.redis import create_client
from convostore.testing.factories import make_session
from convostore.tiered import TieredSessionStore
from convostore.tiered.copies import Guard
from tests.postgres.blocking import blocking, gone, waiting
from tests.postgres.databases import connected
from tests.redis.administration import flush
from tests.sessions.guards import copy_key, pass_time

DATABASE = 12
LEASE = timedelta(seconds=0.5)

ROW = "SELECT FROM convostore.session WHERE session_id = $1 FOR UPDATE"

WRITES: dict[str, Callable[[TieredSessionStore, Session], Awaitable[Any]]] = {
    "save": lambda store, session: store.save(session),
    "overwrite": lambda store, session: store.save(session, overwrite=True),
    "delete": lambda store, session: store.delete(session.session_id, tenant_id=session.tenant_id),
}


@dataclass
class World:
    """Two processes: one writes on a connection of its own, the other reads.

    Attributes:
        pid: of the backend that writes.
        record: PostgreSQL, past the hot tier.
    """

    writer: TieredSessionStore
    pid: int
    reader: TieredSessionStore
    record: PostgresSessionStore
    client: Redis
    admin: Any
    dsn: str

    async def get(self, session: Session) -> Session | None:
        """Read a session as the other process does, and let it promote what it read."""
        found = await self.reader.get(session.session_id)
        await self.reader._promotions.background.drain()
        return found

    async def copied(self, session: Session) -> float:
        """Return how many seconds the copy of a session has to live; 0 if there is none."""
        return max(0, await self.client.pttl(copy_key(session.session_id))) / 1_000

    async def truth(self, session: Session) -> Session | None:
        """Return a session as PostgreSQL has it when nothing is under way any more."""
        await gone(self.admin, self.pid)
        return await self.record.get(session.session_id)


@pytest.fixture
async def world(engines: Embedded) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        client = await enter(create_client(f"{engines.redis_url}?db={DATABASE}"))
        await flush(client)
        pools = [await enter(await create_pool(engines.postgres_dsn, max_size=size)) for size in (1, 5)]
        records = [PostgresSessionStore(pool) for pool in pools]
        stores = [TieredSessionStore(client, record, hot_lease=LEASE, hot_timeout=60.0) for record in records]
        for store in stores:
            stack.push_async_callback(store.aclose)
        pid = await pools[0].fetchval("SELECT pg_backend_pid()")
        admin = await enter(connected(engines.postgres_dsn))
        yield World(stores[0], pid, stores[1], records[1], client, admin, engines.postgres_dsn)


@pytest.fixture
async def session(world: World) -> Session:
    """A session with a copy."""
    session = make_session(uuid4())
    await world.writer.save(session)
    return session


@asynccontextmanager
async def abandoned(world: World, write: str, session: Session, *, frozen: bool = False) -> AsyncIterator[None]:
    """Write until the deadline, in vain. During the block the row is locked; or it is free, and the backend frozen.

    The backend is frozen until the deadline in any case: otherwise PostgreSQL might give up first, and say so.
    """
    async with blocking(world.dsn, ROW, session.session_id) as blocker:
        writing = asyncio.ensure_future(WRITES[write](world.writer.within(1.0), session.model_copy(deep=True)))
        await waiting(world.admin, world.pid)
        os.kill(world.pid, signal.SIGSTOP)
        try:
            with pytest.raises(ConnectionError) as late:
                await writing
            assert late.value.outcome == "unknown"
            if frozen:
                await blocker.let_go()
            else:
                os.kill(world.pid, signal.SIGCONT)
            yield
        finally:
            os.kill(world.pid, signal.SIGCONT)


@pytest.mark.parametrize("write", WRITES)
async def test_until_its_token_expires_no_copy_hides_what_an_abandoned_write_does(
    world: World, session: Session, write: str
) -> None:
    async with abandoned(world, write, session):
        for _ in range(3):
            assert await world.get(session) == session
            assert await world.copied(session) == 0
    truth = await world.truth(session)
    assert await world.get(session) == truth
    assert await world.copied(session) == 0


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("frozen", [False, True], ids=["waiting", "frozen"])
async def test_a_copy_is_behind_what_an_abandoned_write_does_for_a_lease_at_most(
    world: World, session: Session, write: str, frozen: bool
) -> None:
    async with abandoned(world, write, session, frozen=frozen):
        assert await pass_time(world.client, Guard(session.session_id, session.tenant_id, ""), 60.0)
        for _ in range(2):
            assert await world.get(session) == session
            assert 0 < await world.copied(session) <= LEASE.total_seconds()
            await world.reader.demote_to_persistent(session.session_id)
        assert await world.get(session) == session
    truth = await world.truth(session)
    await asyncio.sleep(LEASE.total_seconds())
    assert await world.get(session) == truth


async def test_a_save_that_succeeds_after_an_abandoned_one_is_hot_as_long_as_any(
    world: World, session: Session
) -> None:
    async with abandoned(world, "save", session):
        assert await pass_time(world.client, Guard(session.session_id, session.tenant_id, ""), 60.0)
    await world.truth(session)
    try:
        await world.reader.save(session)
    except ConflictError:
        session = await world.get(session) or session
    assert session.revision == 2
    await world.reader.demote_to_persistent(session.session_id)
    assert await world.get(session) == session
    assert await world.copied(session) > 60.0


async def test_a_cancelled_save_keeps_copies_away_until_its_deadline_and_no_longer(
    world: World, session: Session
) -> None:
    guard = Guard(session.session_id, session.tenant_id, "")
    async with blocking(world.dsn, ROW, session.session_id):
        saving = asyncio.create_task(world.writer.within(2.0).save(session.model_copy(deep=True)))
        await waiting(world.admin, world.pid)
        saving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await saving
        assert await world.get(session) == session
        assert await world.copied(session) == 0
    truth = await world.truth(session)
    assert await pass_time(world.client, guard, 2.0 + 5.0 + 1.0)
    assert await world.get(session) == truth
    assert await world.copied(session) > 0
