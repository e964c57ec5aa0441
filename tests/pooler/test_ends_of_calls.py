"""A call that is cancelled or late ends at the server by way of a pooler as well, and the next call works."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from convostore.embedded import Embedded
from convostore.errors import ConnectionError
from convostore.models import Session
from convostore.postgres import PostgresSessionStore, create_pool
from convostore.testing.factories import make_session
from tests.pooler.pgbouncer import Pooler
from tests.postgres.blocking import blocking, gone

LOCKED = "SELECT FROM convostore.session WHERE session_id = $1 FOR UPDATE"
WAITING = "SELECT pid FROM pg_stat_activity WHERE usename = $1 AND wait_event_type = 'Lock'"


@pytest.fixture
async def session(engines: Embedded) -> Session:
    """A stored session."""
    session = make_session(uuid4())
    async with await create_pool(engines.postgres_dsn) as pool:
        await PostgresSessionStore(pool).save(session)
    return session


async def waiting(admin: Any, login: str) -> int:
    """Return the process of the login's session that waits for a lock, as soon as there is one."""
    async with asyncio.timeout(60):
        while not (pid := await admin.fetchval(WAITING, login)):
            pass
    return int(pid)


async def test_a_cancelled_call(engines: Embedded, login: str, admin: Any, session: Session, pooler: Pooler) -> None:
    async with await create_pool(pooler.dsn(login), pooler=pooler.mode, max_size=2) as pool:
        store = PostgresSessionStore(pool)
        async with blocking(engines.postgres_dsn, LOCKED, session.session_id):
            call = asyncio.create_task(store.within(60).delete(session.session_id))
            pid = await waiting(admin, login)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await gone(admin, pid)
        assert await store.within(60).get(session.session_id) == session


async def test_a_late_call(engines: Embedded, login: str, admin: Any, session: Session, pooler: Pooler) -> None:
    async with await create_pool(pooler.dsn(login), pooler=pooler.mode, max_size=2) as pool:
        store = PostgresSessionStore(pool)
        async with blocking(engines.postgres_dsn, LOCKED, session.session_id):
            call = asyncio.create_task(store.within(3).delete(session.session_id))
            pid = await waiting(admin, login)
            with pytest.raises(ConnectionError) as late:
                await call
            assert (late.value.code, late.value.outcome) == ("timeout", "unknown")
            await gone(admin, pid)
        assert await store.within(60).get(session.session_id) == session
