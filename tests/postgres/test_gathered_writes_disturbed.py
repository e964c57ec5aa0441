"""Writes that travel together, beside locks, other writers, cut connections, silence, and callers that leave."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore import urls
from convostore.embedded import Embedded
from convostore.errors import ConflictError, ConnectionError
from convostore.postgres import PostgresAuditStore, PostgresSessionStore, create_pool
from convostore.postgres.gathering import Present
from convostore.testing.factories import make_event, make_session
from convostore.testing.faults import Flow, Proxy, proxy_to
from tests.faults.cancelled import cancelled_at
from tests.postgres.blocking import blocking
from tests.postgres.conftest import Pool
from tests.postgres.test_gathered_writes import together

pytestmark = pytest.mark.usefixtures("gathering_from_the_second_on")


async def test_a_locked_row_delays_its_own_caller_alone(server: Embedded) -> None:
    """Three times, while the row is locked: all others are saved, and its caller still waits."""
    async with await create_pool(server.postgres_dsn) as pool:
        store = PostgresSessionStore(pool, timeout=60.0)
        sessions = [make_session(uuid4()) for _ in range(8)]
        await asyncio.gather(*map(store.save, sessions))
        locked, *others = sessions
        waits: list[asyncio.Task[UUID]] = []
        async with blocking(
            server.postgres_dsn, "SELECT FROM convostore.session WHERE session_id = $1 FOR UPDATE", locked.session_id
        ):
            for revision in (2, 3, 4):
                first = asyncio.create_task(store.save(others[0]))
                waits.append(asyncio.create_task(store.save(locked.model_copy())))
                rest = [asyncio.create_task(store.save(each)) for each in others[1:]]
                await asyncio.gather(first, *rest)
                assert {each.revision for each in others} == {revision}
                assert not any(task.done() for task in waits)
        ends = await together(*waits)
        assert sorted(type(end).__name__ for end in ends) == ["ConflictError", "ConflictError", "UUID"]
        stored = await store.get(locked.session_id)
        assert stored is not None
        assert stored.revision == 2
        assert await pool.fetchval("SELECT current_setting('lock_timeout')") == "0"


async def test_a_new_row_that_another_inserts_meanwhile_delays_its_own_caller_alone(server: Embedded) -> None:
    """Upserts of one new row pass one after the other, by an advisory lock of its key."""
    key = "SELECT pg_advisory_xact_lock(hashtextextended('session ' || $1::uuid || ' ' || $2::uuid, 0))"
    async with await create_pool(server.postgres_dsn) as pool:
        store, locked = PostgresSessionStore(pool, timeout=60.0), make_session(uuid4())
        await store.save(make_session(uuid4()))
        async with blocking(server.postgres_dsn, key, locked.tenant_id, locked.session_id):
            sessions = [make_session(uuid4()) for _ in range(8)]
            first = asyncio.create_task(store.save(sessions[0]))
            waits = asyncio.create_task(store.save(locked))
            rest = [asyncio.create_task(store.save(each)) for each in sessions[1:]]
            await asyncio.gather(first, *rest)
            assert not waits.done()
        await waits
        assert [await store.get(each.session_id) for each in (*sessions, locked)] == [*sessions, locked]


async def test_concurrent_writers_end_as_one_after_the_other(pool: Pool) -> None:
    """Of the same and of different keys: each revision has one writer, and the last one's content is what is stored."""
    store, dice = PostgresSessionStore(pool, timeout=30.0), random.Random(17)
    sessions = [make_session(uuid4()) for _ in range(12)]
    await asyncio.gather(*map(store.save, sessions))
    won: dict[UUID, dict[int, int]] = {each.session_id: {} for each in sessions}
    refused: list[bool] = []

    async def writer(number: int) -> None:
        for turn in range(12):
            known = await store.get(dice.choice(sessions).session_id)
            assert known is not None
            known.turn_count = number * 1_000 + turn + 1
            overwrite = dice.random() < 0.3
            before = known.revision
            try:
                await store.save(known, overwrite=overwrite)
            except ConflictError as conflict:
                found = conflict.current_revision or 0
                refused.append(not overwrite and found > before)
                continue
            assert overwrite or known.revision == before + 1
            assert known.revision not in won[known.session_id]
            won[known.session_id][known.revision] = known.turn_count

    await asyncio.gather(*map(writer, range(24)))
    assert refused
    assert all(refused)
    for session in sessions:
        stored = await store.get(session.session_id)
        assert stored is not None
        revisions = won[session.session_id]
        assert sorted(revisions) == list(range(2, stored.revision + 1))
        assert stored.turn_count == revisions.get(stored.revision, session.turn_count)


async def test_batches_of_two_processes_take_their_locks_in_one_order(server: Embedded) -> None:
    """The server does not look for deadlocks."""
    settings, tenants = {"deadlock_timeout": "1h"}, [uuid4() for _ in range(3)]
    async with (
        await create_pool(server.postgres_dsn, max_size=1, settings=settings) as one,
        await create_pool(server.postgres_dsn, max_size=1, settings=settings) as other,
    ):
        stores, dice = [PostgresSessionStore(pool, timeout=30.0) for pool in (one, other)], random.Random(3)
        sessions = [make_session(dice.choice(tenants)) for _ in range(30)]
        await asyncio.gather(*map(stores[0].save, sessions))
        for _ in range(20):
            calls = [
                store.save(session.model_copy(), overwrite=True)
                for store in stores
                for session in dice.sample(sessions, len(sessions))
            ]
            await asyncio.gather(*calls)
        stored = [await stores[0].get(session.session_id) for session in sessions]
        assert [each and each.revision for each in stored] == [41] * len(sessions)


@pytest.fixture
async def proxied(server: Embedded) -> AsyncIterator[tuple[Proxy, Pool]]:
    """A pool of one connection by way of a proxy."""
    where = Path(urls.parsed(server.postgres_dsn, urls.POSTGRES, name="dsn").options["host"], ".s.PGSQL.5432")
    async with (
        proxy_to(where) as proxy,
        await create_pool(f"postgresql://postgres@127.0.0.1:{proxy.port}/convostore", max_size=1) as pool,
    ):
        yield proxy, pool


def cutting(store: PostgresSessionStore, proxy: Proxy, *, before_commit: bool) -> list[int]:
    """Cut the connection of the next batch; return where the sizes of batches are noted."""
    sizes: list[int] = []
    send = store._database.fetch_in_time

    async def cut(statement: str, present: Present) -> Any:
        if not sizes:
            proxy.to_server = Flow(cut_after=2_000 if before_commit else None, times=1)
            proxy.to_client = Flow(cut_after=None if before_commit else 0, times=1)
        sizes.append(len(present()))
        return await send(statement, present)

    store._database.fetch_in_time = cut  # type: ignore[method-assign]
    return sizes


@pytest.mark.parametrize("before_commit", [True, False])
async def test_a_cut_connection_applies_all_of_a_batch_or_nothing_and_each_save_is_repeated_once(
    proxied: tuple[Proxy, Pool], before_commit: bool
) -> None:
    proxy, pool = proxied
    store = PostgresSessionStore(pool, timeout=60.0)
    sessions = [make_session(uuid4()) for _ in range(10)]
    for _ in range(2):  # The second time prepares the statement of the third.
        await asyncio.gather(*map(store.save, sessions))
    if not store._database._pipelines:
        pytest.skip("PostgreSQL 16: nothing is sent together")
    sizes = cutting(store, proxy, before_commit=before_commit)
    assert await together(*map(store.save, sessions)) == [each.session_id for each in sessions]
    assert sizes[0] == 9
    assert proxy.to_server.cuts + proxy.to_client.cuts == 1
    # What was applied is recognised by its write id: no revision is skipped.
    assert {each.revision for each in sessions} == {3}
    assert [await store.get(each.session_id) for each in sessions] == sessions


@pytest.mark.parametrize("before_commit", [True, False])
async def test_of_a_cut_batch_what_is_not_idempotent_is_unknown_to_its_callers(
    proxied: tuple[Proxy, Pool], before_commit: bool
) -> None:
    proxy, pool = proxied
    store = PostgresSessionStore(pool, timeout=60.0)
    sessions = [make_session(uuid4()) for _ in range(6)]
    for _ in range(2):  # The second time prepares the statement of the third.
        await asyncio.gather(*(store.save(each, overwrite=True) for each in sessions))
    if not store._database._pipelines:
        pytest.skip("PostgreSQL 16: nothing is sent together")
    cutting(store, proxy, before_commit=before_commit)
    first, *others = await together(*(store.save(each, overwrite=True) for each in sessions))
    assert first == sessions[0].session_id
    assert {type(error) for error in others} == {ConnectionError}
    assert {error.outcome for error in others} == {"unknown"}
    assert len({id(error) for error in others}) == 5
    assert [each.revision for each in sessions] == [3, 2, 2, 2, 2, 2]
    stored = [await store.get(each.session_id) for each in sessions]
    assert [each and each.revision for each in stored] == [3] + [2 if before_commit else 3] * 5


async def test_in_silence_each_caller_leaves_at_its_own_deadline_and_the_connection_is_given_up_with_the_last(
    proxied: tuple[Proxy, Pool],
) -> None:
    proxy, pool = proxied
    store = PostgresSessionStore(pool, timeout=60.0)
    sessions = [make_session(uuid4()) for _ in range(7)]
    for _ in range(2):  # The second time prepares the statement of the third.
        await asyncio.gather(*map(store.save, sessions))
    if not store._database._pipelines:
        pytest.skip("PostgreSQL 16: nothing is sent together")
    send = store._database.fetch_in_time

    async def silenced(statement: str, present: Present) -> Any:
        proxy.to_client = Flow(silent=True)
        return await send(statement, present)

    store._database.fetch_in_time = silenced  # type: ignore[method-assign]
    hurried, patient = store.within(0.5), store.within(1.5)
    first = asyncio.create_task(patient.save(sessions[0]))
    late = [asyncio.create_task(hurried.save(each)) for each in sessions[1:4]]
    last = [asyncio.create_task(patient.save(each)) for each in sessions[4:]]
    assert await first == sessions[0].session_id
    await asyncio.wait(late)
    assert not any(task.done() for task in last)
    assert pool.get_idle_size() == 0
    errors = await together(*late, *last)
    assert {(type(error), error.code, error.outcome) for error in errors} == {(ConnectionError, "timeout", "unknown")}
    proxy.heal()
    store._database.fetch_in_time = send  # type: ignore[method-assign]
    await asyncio.gather(*(store.save(each, overwrite=True) for each in sessions))
    assert [await store.get(each.session_id) for each in sessions] == sessions


async def test_a_caller_that_is_cancelled_at_any_await_harms_no_other(server: Embedded) -> None:
    async with await create_pool(server.postgres_dsn, max_size=1) as pool:
        store, tenant, suspension, cancelled = PostgresSessionStore(pool), uuid4(), 0, {0, 1}
        while cancelled:
            for place in [*cancelled]:
                sessions = [make_session(tenant) for _ in range(4)]
                calls = [
                    asyncio.create_task(cancelled_at(suspension, work) if number == place else work)
                    for number, work in enumerate(map(store.save, sessions))
                ]
                answers = await together(*calls)
                rest = [n for n in range(4) if n != place]
                assert [answers[n] for n in rest] == [sessions[n].session_id for n in rest]
                assert [await store.get(sessions[n].session_id) for n in rest] == [sessions[n] for n in rest]
                stored = await store.get(sessions[place].session_id)
                assert stored is None or stored.revision == 1
                if not isinstance(answers[place], asyncio.CancelledError):
                    assert stored == sessions[place]
                    cancelled.remove(place)
            suspension += 1
        assert suspension >= 2
        assert pool.get_idle_size() == pool.get_size() == 1


async def test_who_leaves_while_a_batch_waits_for_a_connection_is_told_and_is_not_saved(server: Embedded) -> None:
    async with await create_pool(server.postgres_dsn, max_size=1) as pool:
        store, events = PostgresAuditStore(pool, timeout=60.0), [make_event(uuid4()) for _ in range(5)]
        await store.save_event(events.pop())
        first, late, *patient = events
        async with pool.acquire():
            hurried = store.within(0.3)
            calls = store.save_event(first), hurried.save_event(late), *map(store.save_event, patient)
            saved, leaving, *waiting = map(asyncio.create_task, calls)
            with pytest.raises(ConnectionError) as told:
                await leaving
            assert (told.value.code, told.value.outcome) == ("timeout", "not_applied")
        await asyncio.gather(saved, *waiting)
        assert [await store.get_event(each.tenant_id, each.id) for each in (first, *patient)] == [first, *patient]
        assert await store.get_event(late.tenant_id, late.id) is None


async def test_a_late_caller_leaves_and_the_others_are_saved(server: Embedded) -> None:
    """All wait for a lock of the whole table: who has the time is saved in the end, and who has not is told."""
    async with await create_pool(server.postgres_dsn) as pool:
        store = PostgresSessionStore(pool, timeout=60.0)
        sessions = [make_session(uuid4()) for _ in range(6)]
        await asyncio.gather(*map(store.save, sessions))
        async with blocking(server.postgres_dsn, "LOCK TABLE convostore.session IN SHARE MODE"):
            patient = [asyncio.create_task(store.save(each)) for each in sessions[:4]]
            late = await together(*(store.within(0.3).save(each) for each in sessions[4:]))
            assert {(type(error), error.code, error.outcome) for error in late} == {
                (ConnectionError, "timeout", "unknown")
            }
            assert not any(task.done() for task in patient)
        await asyncio.gather(*patient)
        assert [each.revision for each in sessions] == [2] * 4 + [1] * 2
