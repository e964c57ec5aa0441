"""Histories of several processes on the same sessions: the hot tier fails or loses data, writes are abandoned."""

from __future__ import annotations

import asyncio
import math
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import pytest

from convostore.embedded import Embedded, open_embedded
from convostore.errors import ConflictError, ConnectionError
from convostore.postgres import PostgresSessionStore, create_pool
from convostore.postgres.database import Database
from convostore.postgres.gathering import GatheredWrites, Present
from convostore.redis import create_client
from convostore.testing.factories import make_session
from convostore.tiered import TieredSessionStore, copies
from convostore.tiered.values import Copy
from tests.redis import administration
from tests.sessions.linearizability import Operation, linearizable, regular
from tests.sessions.processes import LateRecord

pytestmark = pytest.mark.slow

LEASE = timedelta(seconds=0.5)
PROCESSES = 3
WORKERS = 2
OPERATIONS = 100
KINDS = {"get": 20, "save": 6, "delete": 1}
"""Operations with their frequencies: between two writes there is time for copies."""

PATIENT = (100.0,)
"""The deadlines of calls that end, however busy the machine is."""


class CountingStore(TieredSessionStore):
    """A store that counts the copies it has returned."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.hits: Counter[bool] = Counter()

    async def _is_valid(self, copy: Copy) -> bool:
        valid = await super()._is_valid(copy)
        self.hits[valid] += 1
        return valid


Histories: TypeAlias = dict[UUID, list[Operation]]
Open: TypeAlias = Callable[..., Awaitable[list[CountingStore]]]


@pytest.fixture
async def open_stores_on(engines: Embedded) -> AsyncIterator[Open]:
    """Opens stores that share nothing but the servers, as in several processes."""
    async with AsyncExitStack() as stack:

        async def opened(
            redis_url: str, record: Callable[..., PostgresSessionStore] = PostgresSessionStore, **given: Any
        ) -> list[CountingStore]:
            stores = []
            for _ in range(PROCESSES):
                pool = await stack.enter_async_context(await create_pool(engines.postgres_dsn, max_size=4))
                client = await stack.enter_async_context(create_client(redis_url))
                store = CountingStore(client, record(pool), hot_lease=LEASE, **given)
                stack.push_async_callback(store.aclose)
                stores.append(store)
            return stores

        yield opened


async def work(
    opened: TieredSessionStore,
    sessions: list[UUID],
    tenant: UUID,
    histories: Histories,
    operations: int,
    deadlines: Sequence[float],
) -> None:
    """Read, save and delete sessions at random, and record the history."""
    known = dict.fromkeys(sessions, 0)
    for _ in range(operations):
        session_id, store = random.choice(sessions), opened.within(random.choice(deadlines))
        (kind,) = random.choices(list(KINDS), list(KINDS.values()))
        await asyncio.sleep(random.uniform(0, 0.01))
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
    stores: Sequence[TieredSessionStore],
    sessions: Iterable[UUID],
    deadlines: Sequence[float] = (5.0,),
    *,
    operations: int = OPERATIONS,
    workers: int = WORKERS,
) -> Histories:
    """Run several workers per store on a few sessions; return their histories."""
    histories: Histories = {session_id: [] for session_id in sessions}
    tenant, working = uuid4(), [store for store in stores for _ in range(workers)]
    await asyncio.gather(*(work(store, list(histories), tenant, histories, operations, deadlines) for store in working))
    return histories


def some_sessions(number: int = 3) -> list[UUID]:
    """Return the ids of a few new sessions."""
    return [uuid4() for _ in range(number)]


def answering_late(pool: Any) -> LateRecord:
    """Return a system of record whose answers are often overtaken."""

    async def answering() -> None:
        await asyncio.sleep(random.choice([0, 0, random.uniform(0, 0.03)]))

    record = LateRecord(pool)
    record.answering = answering
    return record


def applying_late(pool: Any, *, at_most: float) -> LateRecord:
    """Return a system of record that applies writes up to so many seconds after they were abandoned."""

    async def late(deadline: float) -> None:
        left = deadline - asyncio.get_running_loop().time()
        await asyncio.sleep(random.uniform(0, left + at_most) if left < 1.0 else 0)

    record = answering_late(pool)
    record.late = late
    return record


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
    stores = await open_stores_on(url, answering_late, hot_timeout=10.0)
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
    assert sum(store.hits[True] for store in stores) > 10
    for history in histories.values():
        assert (linearizable if disturbance == "none" else regular)(history)
    assert all(store.hot_failures == 0 for store in stores)


async def test_saves_that_travel_together_have_linearizable_histories(
    engines: Embedded, open_stores_on: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    send = Database.fetch_in_time

    async def noted(self: Database, statement: str, present: Present) -> Any:
        sizes.append(len(present()))
        return await send(self, statement, present)

    monkeypatch.setattr(Database, "fetch_in_time", noted)
    monkeypatch.setattr(GatheredWrites, "few", 1)
    stores = await open_stores_on(f"{engines.redis_url}?db=7", hot_timeout=10.0)
    histories = await histories_of(stores, some_sessions(24), PATIENT, operations=60, workers=32)
    assert sum(sizes) > 100
    for history in histories.values():
        assert linearizable(history)


@pytest.mark.parametrize("applied", ["in time", "late"])
async def test_what_abandoned_writes_do_in_time_outdates_no_copy_and_what_they_do_late_for_a_lease_at_most(
    engines: Embedded, open_stores_on: Open, monkeypatch: pytest.MonkeyPatch, applied: str
) -> None:
    monkeypatch.setattr(copies, "PUBLISH_WITHIN", timedelta(seconds=0.2))
    url, sessions = f"{engines.redis_url}?db=7", some_sessions()
    record = partial(applying_late, at_most=0.2 if applied == "in time" else 3.0)
    stores = await open_stores_on(url, record, hot_timeout=10.0)
    # Few writes are abandoned: tokens expire, and copies are published over unresolved guards.
    histories = await histories_of(stores, sessions, (0.02, *PATIENT * 24), operations=3 * OPERATIONS)
    abandoned = [op for history in histories.values() for op in history if math.isinf(op.end)]
    assert len(abandoned) > 5
    assert sum(store.hits[True] for store in stores) > 10
    for store in stores:
        late: Any = store._record
        await asyncio.gather(*late.applying, return_exceptions=True)
    await asyncio.sleep(LEASE.total_seconds())
    for session_id, history in histories.items():
        check_bound(history)
        loaded = await stores[0]._record.load(session_id)
        truth = loaded and loaded[0]
        assert [await store.get(session_id) for store in stores] == [truth] * PROCESSES
        last = final(truth)
        if applied == "in time":
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
