"""What a late, cancelled or vanished caller leaves at the server ends soon, and is not committed after its deadline."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from convostore.embedded import Embedded
from convostore.errors import ConnectionError
from convostore.postgres import PostgresConfigStore, PostgresSessionStore, create_pool
from convostore.testing.factories import make_agent, make_session
from tests.postgres.blocking import blocking, gone, single, waiting
from tests.postgres.databases import connected

pytestmark = pytest.mark.slow

AGENT = "SELECT FROM convostore.agent WHERE id = $1 FOR UPDATE"
SESSION = "SELECT FROM convostore.session WHERE session_id = $1 FOR UPDATE"
LIMITS = "SELECT current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout')"


@pytest.fixture
async def admin(engines: Embedded) -> AsyncIterator[Any]:
    """A superuser's connection."""
    async with connected(engines.postgres_dsn) as connection:
        yield connection


@pytest.mark.parametrize("how", ["late", "cancelled"])
async def test_the_backend_of_an_abandoned_call_ends_although_its_lock_is_held(
    engines: Embedded, admin: Any, how: str
) -> None:
    agent = make_agent(uuid4())
    async with single(engines.postgres_dsn) as (pool, pid):
        store = PostgresConfigStore(pool)
        await store.save_agent(agent)
        async with blocking(engines.postgres_dsn, AGENT, agent.id):
            call = asyncio.create_task(store.within(0.3 if how == "late" else 30).save_agent(agent.model_copy()))
            await waiting(admin, pid)
            if how == "cancelled":
                call.cancel()
            await asyncio.wait({call})
            await gone(admin, pid)
        stored = await store.get_agent(agent.tenant_id, agent.id)
        assert stored is not None
        assert stored.revision == 1


async def test_a_frozen_backend_does_not_commit_a_session_after_its_deadline(engines: Embedded, admin: Any) -> None:
    session = make_session(uuid4())
    async with single(engines.postgres_dsn) as (pool, pid):
        store = PostgresSessionStore(pool)
        await store.save(session)
        async with blocking(engines.postgres_dsn, SESSION, session.session_id) as blocker:
            call = asyncio.create_task(store.within(0.5).save(session.model_copy()))
            await waiting(admin, pid)
            os.kill(pid, signal.SIGSTOP)
            try:
                with pytest.raises(ConnectionError):
                    await call
                await blocker.let_go()
            finally:
                os.kill(pid, signal.SIGCONT)
        await gone(admin, pid)
        assert await store.get(session.session_id) == session


@pytest.mark.parametrize("name", ["save", "delete"])
async def test_a_write_of_a_session_ends_itself_when_its_deadline_has_passed(
    engines: Embedded, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    session = make_session(uuid4())
    async with await create_pool(engines.postgres_dsn, max_size=1) as pool:
        store = PostgresSessionStore(pool)
        await store.save(session)
        known = store._database._clocks
        for connection, (server_time, heard_at) in list(known.items()):
            # As if the statement had been under way for an hour.
            known[connection] = server_time, heard_at + 3_600
        call = store.save(session.model_copy()) if name == "save" else store.delete(session.session_id)
        with pytest.raises(ConnectionError) as caught:
            await call
        assert (caught.value.code, caught.value.outcome, caught.value.retryable) == ("57014", "not_applied", True)
        assert await store.get(session.session_id) == session


async def test_a_call_with_a_longer_deadline_waits_longer_for_a_lock(engines: Embedded, admin: Any) -> None:
    agent = make_agent(uuid4())
    async with single(engines.postgres_dsn) as (pool, pid):
        store = PostgresConfigStore(pool, timeout=1)
        await store.save_agent(agent)
        async with blocking(engines.postgres_dsn, AGENT, agent.id) as blocker:
            call = asyncio.create_task(store.within(60).save_agent(agent))
            await waiting(admin, pid)
            await blocker.let_go()
            await call
    assert agent.revision == 2


async def test_statements_limit_their_own_transaction_and_leave_the_connection_as_it_was(engines: Embedded) -> None:
    async with await create_pool(engines.postgres_dsn, max_size=1) as pool:
        store = PostgresConfigStore(pool)
        await store.get_agent(uuid4(), uuid4())
        async with pool.acquire() as connection:
            assert tuple(await connection.fetchrow(LIMITS) or ()) == ("0", "0")
            async with connection.transaction():
                await connection.fetchval("SELECT convostore.bind($1)", uuid4())
                assert tuple(await connection.fetchrow(LIMITS) or ()) == ("5s", "5s")
            assert tuple(await connection.fetchrow(LIMITS) or ()) == ("0", "0")


async def test_a_limit_of_the_connections_own_stays(engines: Embedded) -> None:
    async with await create_pool(engines.postgres_dsn, max_size=1, settings={"lock_timeout": "123ms"}) as pool:
        await PostgresConfigStore(pool).get_agent(uuid4(), uuid4())
        async with pool.acquire() as connection, connection.transaction():
            await connection.fetchval("SELECT convostore.bind($1)", uuid4())
            assert tuple(await connection.fetchrow(LIMITS) or ()) == ("123ms", "5s")
