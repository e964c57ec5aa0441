"""Calls that are given up while they wait: nothing half-written, no connection lost to the pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore import urls
from convostore.embedded import Embedded
from convostore.errors import ConnectionError
from convostore.models import Agent, Episode
from convostore.postgres import PostgresConfigStore, PostgresMemoryStore, PostgresSessionStore, create_pool
from convostore.postgres.database import Database
from convostore.testing.factories import make_agent, make_episode, make_rule, make_session
from convostore.testing.faults import proxy_to
from tests.faults.cancelled import cancelled_at
from tests.faults.quiet import quiet_loop
from tests.postgres.blocking import blocking, gone, single, waiting
from tests.postgres.databases import connected

pytestmark = pytest.mark.slow

AGENT = "SELECT FROM convostore.agent WHERE id = $1 FOR UPDATE"
RULES = "SELECT FROM convostore.rule WHERE agent_id = $1 FOR UPDATE"
EPISODES = "LOCK TABLE convostore.episode IN SHARE MODE"


@pytest.fixture
async def admin(engines: Embedded) -> AsyncIterator[Any]:
    """A superuser's connection."""
    async with connected(engines.postgres_dsn) as connection:
        yield connection


@pytest.fixture
async def agent(engines: Embedded) -> Agent:
    """An agent with two rules."""
    agent = make_agent(uuid4())
    async with await create_pool(engines.postgres_dsn) as pool:
        store = PostgresConfigStore(pool)
        await store.save_agent(agent)
        for _ in range(2):
            await store.save_rule(make_rule(agent.tenant_id, agent.id))
    return agent


async def living(store: PostgresConfigStore, agent: Agent) -> tuple[bool, int]:
    """Return whether an agent is there, and how many rules it has."""
    found = await store.get_agent(agent.tenant_id, agent.id)
    return found is not None, len(await store.get_rules(agent.tenant_id, agent.id))


@pytest.mark.parametrize("lock", [AGENT, RULES], ids=["before the first row", "halfway"])
async def test_a_cancelled_write_leaves_nothing_half_written(
    engines: Embedded, admin: Any, agent: Agent, lock: str
) -> None:
    async with single(engines.postgres_dsn) as (pool, pid):
        store = PostgresConfigStore(pool)
        async with blocking(engines.postgres_dsn, lock, agent.id):
            call = asyncio.create_task(store.delete_agent(agent.tenant_id, agent.id))
            await waiting(admin, pid)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            # Others see the state before, and the pool has a connection for them, while the lock is still held.
            assert await living(store, agent) == (True, 2)
        # PostgreSQL may carry on with what nobody waits for any more: then with all of it.
        await gone(admin, pid)
        assert await living(store, agent) in ((True, 2), (False, 0))


async def test_cancellation_passes_untouched(engines: Embedded, admin: Any, agent: Agent) -> None:
    async with single(engines.postgres_dsn) as (pool, pid):
        async with blocking(engines.postgres_dsn, AGENT, agent.id):
            call = asyncio.create_task(PostgresConfigStore(pool).delete_agent(agent.tenant_id, agent.id))
            await waiting(admin, pid)
            call.cancel("the user left")
            with pytest.raises(asyncio.CancelledError) as passed:
                await call
        assert passed.value.args == ("the user left",)
        assert call.cancelled()


async def test_a_call_that_is_cancelled_while_it_waits_for_a_connection_takes_none(
    engines: Embedded, agent: Agent
) -> None:
    async with single(engines.postgres_dsn) as (pool, _):
        store = PostgresConfigStore(pool)
        async with pool.acquire():
            calls = [asyncio.create_task(store.get_agent(agent.tenant_id, agent.id)) for _ in range(5)]
            await asyncio.sleep(0)
            for call in calls:
                call.cancel()
            assert all(isinstance(done, asyncio.CancelledError) for done in await gather(calls))
        assert pool.get_size() - pool.get_idle_size() == 0
        assert await living(store, agent) == (True, 2)


async def gather(calls: list[asyncio.Task[Any]]) -> list[Any]:
    """Return what became of calls."""
    return await asyncio.gather(*calls, return_exceptions=True)


async def test_a_deadline_on_a_blocked_call_is_a_connection_error_and_the_pool_goes_on(
    engines: Embedded, admin: Any, agent: Agent
) -> None:
    async with single(engines.postgres_dsn) as (pool, _):
        store = PostgresConfigStore(pool)
        async with blocking(engines.postgres_dsn, AGENT, agent.id):
            for _ in range(3):
                with pytest.raises(ConnectionError) as late:
                    await store.within(0.1).delete_agent(agent.tenant_id, agent.id)
                assert (late.value.code, late.value.outcome, late.value.retryable) == ("timeout", "unknown", True)
                assert isinstance(late.value.__cause__, TimeoutError)
            assert await living(store, agent) == (True, 2)
            assert pool.get_size() == 1


@pytest.mark.parametrize("way", ["TCP", "socket"])
async def test_a_connection_that_is_given_up_while_it_is_opened_ends_in_silence(engines: Embedded, way: str) -> None:
    async def asked(pool: Any, suspension: int) -> None:
        await cancelled_at(suspension, Database(pool).fetchval("SELECT 1"))

    dsn, suspension, cancelled = engines.postgres_dsn, 0, True
    async with proxy_to(Path(urls.parsed(dsn, urls.POSTGRES, name="dsn").options["host"], ".s.PGSQL.5432")) as proxy:
        if way == "TCP":
            dsn = f"postgresql://postgres@127.0.0.1:{proxy.port}/convostore"
        with quiet_loop():
            while cancelled:
                async with await create_pool(dsn, max_size=1) as pool:
                    call = asyncio.create_task(asked(pool, suspension))
                    await asyncio.wait([call])
                cancelled, suspension = call.cancelled(), suspension + 1
    assert suspension > 4


@pytest.fixture
def bulk() -> list[Episode]:
    """More episodes than a socket takes at once."""
    tenant, agent = uuid4(), uuid4()
    return [make_episode(tenant, agent, content="x" * 2_000) for _ in range(3_000)]


@pytest.mark.parametrize("ending", ["cancelled", "late", "lost"])
async def test_a_bulk_write_that_waits_for_the_server_ends_with_its_call_or_its_connection(
    engines: Embedded, admin: Any, bulk: list[Episode], ending: str
) -> None:
    async with single(engines.postgres_dsn) as (pool, pid):
        store = PostgresMemoryStore(pool)
        for _ in range(2):  # The second time prepares the statement of the transaction that the call needs.
            await store.add_episodes(bulk[:1])
        async with blocking(engines.postgres_dsn, EPISODES) as blocker:
            call = asyncio.create_task(store.within(0.5 if ending == "late" else 60).add_episodes(bulk))
            await waiting(admin, pid)
            if ending == "cancelled":
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
            elif ending == "late":
                with pytest.raises(ConnectionError) as late:
                    await call
                assert late.value.code == "timeout"
            else:
                assert await admin.fetchval("SELECT pg_terminate_backend($1)", pid)
                await blocker.let_go()
                # What is added is found again by its ids, so the call is repeated on another connection.
                assert await call == [episode.id for episode in bulk]
        await gone(admin, pid)
        stored = await store.get_episodes(bulk[0].tenant_id, bulk[0].agent_id, limit=2)
        assert len(stored) == (2 if ending == "lost" else 1)


@pytest.mark.slow
async def test_many_cancellations_leave_every_connection_usable(engines: Embedded) -> None:
    tenant, saved = uuid4(), []
    async with await create_pool(engines.postgres_dsn, max_size=3) as pool:
        store = PostgresSessionStore(pool)
        for turn in range(60):
            sessions = [make_session(tenant) for _ in range(4)]
            calls = [asyncio.create_task(store.save(session)) for session in sessions]
            for _ in range(turn % 12):
                await asyncio.sleep(0)
            for call in calls[::2]:
                call.cancel()
            results = await gather(calls)
            assert not any(isinstance(result, ConnectionError) for result in results)
            saved += [session for session, result in zip(sessions, results, strict=True) if isinstance(result, UUID)]
        assert len(saved) >= 120
        stored = [await store.get(session.session_id) for session in saved]
        assert stored == saved
        async with asyncio.timeout(5), pool.acquire(), pool.acquire(), pool.acquire() as last:
            assert await last.fetchval("SELECT 1") == 1
