"""The deadline of a tiered call covers shared loads and guards, longer and shorter; late calls free what they held."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from convostore.call.call import current_call
from convostore.embedded import Embedded
from convostore.errors import ConnectionError
from convostore.models import Session
from convostore.postgres import PostgresSessionStore, create_pool
from convostore.redis import create_client
from convostore.testing.factories import make_session
from convostore.tiered import TieredSessionStore
from convostore.tiered.values import Guard
from tests.postgres.blocking import blocking
from tests.sessions.guards import pass_time, tokens

DATABASE = 11

LOCK = "LOCK TABLE convostore.session IN ACCESS EXCLUSIVE MODE"
ROW = "SELECT FROM convostore.session WHERE session_id = $1 FOR UPDATE"

CALLS: dict[str, Callable[[TieredSessionStore, Session], Awaitable[Any]]] = {
    "get": lambda store, session: store.get(session.session_id),
    "get of a tenant": lambda store, session: store.get(session.session_id, tenant_id=session.tenant_id),
    "save": lambda store, session: store.save(session.model_copy(deep=True)),
    "delete": lambda store, session: store.delete(session.session_id),
    "delete of a tenant": lambda store, session: store.delete(session.session_id, tenant_id=session.tenant_id),
    "promote_to_hot": lambda store, session: store.promote_to_hot(session.session_id),
    "list_by_agent": lambda store, session: store.list_by_agent(session.tenant_id, session.agent_id),
    "acquire_lock": lambda store, session: store.acquire_lock(session.session_id, uuid4()),
}


class Record(PostgresSessionStore):
    """PostgreSQL, with the deadlines that drivers see noted."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.left: list[float] = []

    def note(self) -> None:
        self.left.append(current_call().deadline - asyncio.get_running_loop().time())

    async def load(self, session_id: UUID, tenant_id: UUID | None = None) -> tuple[Session, int] | None:
        self.note()
        return await super().load(session_id, tenant_id)

    async def write(self, session: Session, *, overwrite: bool, fence: int | None, invalidate_copies: bool) -> None:
        self.note()
        await super().write(session, overwrite=overwrite, fence=fence, invalidate_copies=invalidate_copies)


@pytest.fixture
async def client(engines: Embedded) -> AsyncIterator[Redis]:
    async with create_client(f"{engines.redis_url}?db={DATABASE}") as opened:
        yield opened


@asynccontextmanager
async def opened(
    engines: Embedded, client: Redis, *, timeout: float, size: int = 5
) -> AsyncIterator[TieredSessionStore]:
    """Open a store whose pool has so many connections."""
    async with await create_pool(engines.postgres_dsn, max_size=size) as pool:
        # The hot tier answers, however busy the machine is.
        store = TieredSessionStore(client, Record(pool, timeout=timeout), timeout=timeout, hot_timeout=60.0)
        yield store
        await store.aclose()


@pytest.fixture
async def session(engines: Embedded, client: Redis) -> Session:
    """A session without a copy."""
    session = make_session(uuid4())
    async with opened(engines, client, timeout=60.0) as store:
        await store.save(session)
        await store.demote_to_persistent(session.session_id)
    return session


@pytest.mark.parametrize("name", CALLS)
async def test_a_longer_deadline_outlasts_a_lock(engines: Embedded, client: Redis, session: Session, name: str) -> None:
    async with opened(engines, client, timeout=0.2) as hasty, blocking(engines.postgres_dsn, LOCK) as blocker:
        waiting = asyncio.ensure_future(CALLS[name](hasty.within(60.0), session))
        with pytest.raises(ConnectionError):
            await CALLS[name](hasty, session)
        assert not waiting.done()
        await blocker.let_go()
        await waiting


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("how", ["late", "cancelled"])
async def test_late_and_cancelled_calls_free_their_connections(
    engines: Embedded, client: Redis, session: Session, name: str, how: str
) -> None:
    async with opened(engines, client, timeout=60.0, size=2) as patient, blocking(engines.postgres_dsn, LOCK):
        store = patient.within(0.2) if how == "late" else patient
        calls = [asyncio.ensure_future(CALLS[name](store, session)) for _ in range(2)]
        await asyncio.wait(calls, timeout=0.3)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        pool = patient._record._database.pool  # type: ignore[attr-defined]
        async with asyncio.timeout(10.0):
            assert await pool.fetchval("SELECT 1") == 1


async def test_a_shared_load_has_the_latest_deadline_of_its_callers(
    engines: Embedded, client: Redis, session: Session
) -> None:
    async with opened(engines, client, timeout=60.0) as store:
        record: Any = store._record
        async with blocking(engines.postgres_dsn, LOCK) as blocker:
            calls = [
                asyncio.create_task(store.within(seconds).get(session.session_id)) for seconds in (0.2, 50.0, 30.0)
            ]
            with pytest.raises(ConnectionError):
                await calls[0]
            await blocker.let_go()
            assert await asyncio.gather(*calls[1:]) == [session] * 2
        assert 45.0 < max(record.left) <= 50.0


@pytest.mark.parametrize("seconds", [0.3, 100.0])
async def test_the_guard_of_a_write_lasts_as_long_as_its_call_may(
    engines: Embedded, client: Redis, session: Session, seconds: float
) -> None:
    async with opened(engines, client, timeout=10.0) as store:
        guard = Guard(session.session_id, session.tenant_id, "")
        async with blocking(engines.postgres_dsn, ROW, session.session_id):
            saving = asyncio.create_task(store.within(seconds).save(session.model_copy(deep=True)))
            if seconds < 1.0:
                with pytest.raises(ConnectionError):
                    await saving
            while not (placed := await tokens(client, guard)):
                pass
            loading = guard._replace(token="loading")
            assert await pass_time(client, guard, seconds + 5.0)
            assert not await store._hot.guard_load(loading, generation=0)
            assert await pass_time(client, guard, 2.0)
            assert await store._hot.guard_load(loading, generation=0)
            assert len(placed) == 1
            saving.cancel()
            await asyncio.gather(saving, return_exceptions=True)
