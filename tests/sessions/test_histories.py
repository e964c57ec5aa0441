"""Histories of several processes on the same sessions: the hot tier fails or loses data, writes are abandoned."""

from __future__ import annotations

import asyncio
import math
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from convostore.embedded import Embedded, open_embedded
from convostore.errors import ConflictError, ConnectionError
from convostore.postgres import PostgresSessionStore, create_pool
from convostore.redis import create_client
from convostore.testing.factories import make_session
from convostore.tiered import TieredSessionStore
from convostore.tiered.copies import Guard
from tests.postgres.databases import connected
from tests.redis import administration
from tests.sessions.guards import pass_time
from tests.sessions.linearizability import Operation, linearizable, regular

pytestmark = pytest.mark.slow

RUNNING = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'convostore' AND state = 'active' AND query LIKE '%convostore.session%'
"""

LEASE = timedelta(seconds=0.5)
PROCESSES = 3
WORKERS = 2
OPERATIONS = 60

PATIENT = (100.0,)
"""The deadlines of calls that end, however busy the machine is."""

Histories: TypeAlias = dict[UUID, list[Operation]]
Open: TypeAlias = Callable[..., Awaitable[list[TieredSessionStore]]]


@pytest.fixture
async def open_stores_on(engines: Embedded) -> AsyncIterator[Open]:
    """Opens stores that share nothing but the servers, as in several processes."""
    async with AsyncExitStack() as stack:

        async def opened(redis_url: str, **given: Any) -> list[TieredSessionStore]:
            stores = []
            for _ in range(PROCESSES):
                pool = await stack.enter_async_context(await create_pool(engines.postgres_dsn, max_size=4))
                client = await stack.enter_async_context(create_client(redis_url))
                store = TieredSessionStore(client, PostgresSessionStore(pool), hot_lease=LEASE, **given)
                stack.push_async_callback(store.aclose)
                stores.append(store)
            return stores

        yield opened


async def work(
    opened: TieredSessionStore, sessions: list[UUID], tenant: UUID, histories: Histories, deadlines: Sequence[float]
) -> None:
    """Read, save and delete sessions at random, and record the history."""
    known = dict.fromkeys(sessions, 0)
    for _ in range(OPERATIONS):
        session_id, store = random.choice(sessions), opened.within(random.choice(deadlines))
        kind = random.choices(["get", "save", "delete"], [10, 10, 1])[0]
        content, expected, start = random.getrandbits(40), known[session_id], time.monotonic()
        try:
            if kind == "get":
                read = await store.get(session_id)
                known[session_id] = read.revision if read else 0
                answer = (read.revision, read.turn_count) if read else None
                operation = Operation(kind, start, time.monotonic(), answer=answer)
            elif kind == "delete":
                gone = await store.delete(session_id)
                operation = Operation(kind, start, time.monotonic(), answer=gone)
            else:
                session = make_session(tenant, session_id=session_id, revision=expected, turn_count=content)
                await store.save(session)
                known[session_id] = session.revision
                operation = Operation(kind, start, time.monotonic(), expected=expected, content=content)
        except ConflictError as conflict:
            known[session_id] = conflict.current_revision or 0
            # An earlier attempt with an unknown outcome may have been applied and overwritten before this conflict.
            if conflict.outcome == "unknown":
                histories[session_id].append(Operation(kind, start, math.inf, expected=expected, content=content))
            end, answer_ = time.monotonic(), conflict.current_revision
            operation = Operation(kind, start, end, expected=expected, answer=answer_, refused=True)
        except ConnectionError:
            operation = Operation(kind, start, math.inf, expected=expected, content=content)
        if not (kind == "get" and math.isinf(operation.end)):
            histories[session_id].append(operation)


async def histories_of(
    stores: list[TieredSessionStore], sessions: Iterable[UUID], deadlines: Sequence[float] = (5.0,)
) -> Histories:
    """Run several workers per store on a few sessions; return their histories."""
    histories: Histories = {session_id: [] for session_id in sessions}
    tenant, workers = uuid4(), [store for store in stores for _ in range(WORKERS)]
    await asyncio.gather(*(work(store, list(histories), tenant, histories, deadlines) for store in workers))
    return histories


def some_sessions() -> list[UUID]:
    """Return the ids of a few new sessions."""
    return [uuid4() for _ in range(3)]


async def disturb(times: int, disturbance: Callable[[], Awaitable[object]]) -> None:
    """Inject a fault into the hot tier repeatedly."""
    for _ in range(times):
        await disturbance()
        await asyncio.sleep(random.uniform(0, 0.02))


async def lose_nothing() -> None:
    """Inject no fault."""


@pytest.mark.parametrize("disturbance", ["none", "flushed", "evicted"])
async def test_while_the_hot_tier_is_reachable_every_history_is_linearizable_or_if_it_loses_guards_regular(
    engines: Embedded, open_stores_on: Open, disturbance: str
) -> None:
    url = f"{engines.redis_url}?db=7"
    # A slow reply on a busy machine must not count as an unreachable hot tier.
    stores = await open_stores_on(url, hot_timeout=10.0)
    async with create_client(url) as client:

        async def evict() -> None:
            key = await administration.random_key(client)
            if key is not None:
                await client.delete(key)

        async def flush() -> None:
            await administration.flush(client)

        bad = {"none": lose_nothing, "flushed": flush, "evicted": evict}
        disturbing = asyncio.create_task(disturb(10_000, bad[disturbance]))
        try:
            histories = await histories_of(stores, some_sessions(), PATIENT)
        finally:
            disturbing.cancel()
    assert sum(len(history) for history in histories.values()) > PROCESSES * WORKERS * OPERATIONS / 2
    for history in histories.values():
        assert (linearizable if disturbance == "none" else regular)(history)
    assert all(store.hot_failures == 0 for store in stores)


async def hold_rows(dsn: str, sessions: list[UUID], seconds: float) -> None:
    """Lock rows of sessions again and again, up to so many seconds at a time."""
    async with connected(dsn) as connection:
        while True:
            async with connection.transaction():
                held = random.choice(sessions)
                await connection.execute("SELECT FROM convostore.session WHERE session_id = $1 FOR UPDATE", held)
                await asyncio.sleep(random.uniform(0, seconds))


async def let_tokens_expire(client: Redis) -> None:
    """Let the tokens in some guard be as old as if their calls had been over for long."""
    key = await administration.random_key(client)
    if key is not None and b":guard:" in key:
        tenant, session_id = (UUID(part.decode()) for part in key.split(b":")[-2:])
        await pass_time(client, Guard(session_id, tenant, ""), 200.0)


@pytest.mark.parametrize("tokens", ["kept", "expired"])
async def test_what_abandoned_writes_do_later_outdates_copies_for_a_lease_at_most_and_while_guarded_not_at_all(
    engines: Embedded, open_stores_on: Open, tokens: str
) -> None:
    url, sessions = f"{engines.redis_url}?db=7", some_sessions()
    stores = await open_stores_on(url, hot_timeout=10.0)
    async with create_client(url) as client:
        await administration.flush(client)
        disturbing = [asyncio.create_task(hold_rows(engines.postgres_dsn, sessions, 0.2))]
        if tokens == "expired":
            disturbing.append(asyncio.create_task(disturb(100_000, partial(let_tokens_expire, client))))
        try:
            histories = await histories_of(stores, sessions, (0.05, 0.1, 0.3, *PATIENT))
        finally:
            for task in disturbing:
                task.cancel()
            await asyncio.gather(*disturbing, return_exceptions=True)
    abandoned = [op for history in histories.values() for op in history if math.isinf(op.end)]
    assert len(abandoned) > 10
    async with connected(engines.postgres_dsn) as admin:
        while await admin.fetchval(RUNNING):  # Until what was abandoned has been applied or not.
            pass
    await asyncio.sleep(LEASE.total_seconds())
    for session_id, history in histories.items():
        check_bound(history)
        loaded = await stores[0]._record.load(session_id)
        truth = loaded and loaded[0]
        assert [await store.get(session_id) for store in stores] == [truth] * PROCESSES
        last = final(truth)
        if tokens == "kept":
            assert linearizable([*history, last])
        else:
            assert linearizable([*(op for op in history if op.kind != "get"), last])


async def test_a_killed_hot_tier_loses_no_acknowledged_save_and_reads_are_stale_for_at_most_a_lease(
    area: Path, open_stores_on: Open
) -> None:
    async with open_embedded(area / "home", postgres=False) as engines:
        stores = await open_stores_on(engines.redis_url)

        async def kill() -> None:
            victim = engines.valkey_pid
            if victim is not None:
                os.kill(victim, signal.SIGKILL)
                await engines.wait_ready(without=victim)

        disturbing = asyncio.create_task(disturb(3, kill))
        histories: Histories = {}
        while not disturbing.done():
            histories |= await histories_of(stores, some_sessions())
        await disturbing
        for session_id, history in histories.items():
            check_bound(history)
            loaded = await stores[0]._record.load(session_id)
            assert linearizable([*(op for op in history if op.kind != "get"), final(loaded and loaded[0])])
    assert sum(store.hot_failures for store in stores) > 0


def final(session: object) -> Operation:
    """Return a final read."""
    answer = None if session is None else (session.revision, session.turn_count)  # type: ignore[attr-defined]
    return Operation("get", time.monotonic(), time.monotonic(), answer=answer)


def check_bound(history: list[Operation]) -> None:
    """Check that no read returned a revision that was overwritten more than a lease before the read began."""
    saves = [op for op in history if op.kind == "save" and not op.refused and not math.isinf(op.end)]
    for read in (op for op in history if op.kind == "get" and isinstance(op.answer, tuple)):
        for save in saves:
            if save.end + LEASE.total_seconds() < read.start and isinstance(read.answer, tuple):
                gone = any(op.kind == "delete" and op.end > save.start for op in history)
                assert gone or read.answer[0] >= save.expected + 1, (read, save)
