"""Misses: answered from the system of record, loaded once for all, promoted in the background."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.errors import ConflictError, ConnectionError
from convostore.models import Session
from convostore.postgres import PostgresSessionStore
from tests.cluster.nodes import Node
from tests.sessions.processes import Process, Start


async def demoted(process: Process) -> Session:
    """Return a session of which no copy is in the hot tier."""
    session = await process.saved()
    assert await process.store.demote_to_persistent(session.session_id)
    return session


async def test_a_miss_is_promoted_in_the_background(process: Process, hot: Node) -> None:
    session = await demoted(process)
    assert not await process.answers_from_a_copy(session)
    assert await process.answers_from_a_copy(session)
    assert process.record.loads == 2


async def test_a_miss_does_not_wait_for_its_promotion(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    session, may_publish = await demoted(process), asyncio.Event()
    guard_load = process.store._hot.guard_load

    async def slow(*args: Any, **kwargs: Any) -> bool:
        await may_publish.wait()
        return await guard_load(*args, **kwargs)

    monkeypatch.setattr(process.store._hot, "guard_load", slow)
    for _ in range(3):
        assert await process.store.get(session.session_id) == session
    may_publish.set()
    assert not await process.answers_from_a_copy(session) or process.record.loads == 4
    assert await process.answers_from_a_copy(session)


async def test_a_save_outranks_the_promotion_that_it_overtakes(process: Process, start: Start) -> None:
    elsewhere, session = await start(), await demoted(process)
    load = process.record.load

    async def overtaken(session_id: UUID, tenant_id: UUID | None = None) -> tuple[Session, int] | None:
        found = await load(session_id, tenant_id)
        if process.record.loads == 2:
            await elsewhere.store.save(session)
        return found

    process.record.load = overtaken  # type: ignore[method-assign]
    await process.store.get(session.session_id)
    await process.settled()
    assert session.revision == 2
    assert await process.store.get(session.session_id) == session
    await process.settled()
    assert await elsewhere.answers_from_a_copy(session)


async def test_an_unknown_session_is_promoted_by_nobody(process: Process, hot: Node) -> None:
    for tenant in (None, uuid4()):
        assert await process.store.get(uuid4(), tenant_id=tenant) is None
        await process.settled()
    assert await hot.ask("DBSIZE") == 0


async def test_nothing_is_promoted_while_the_hot_tier_fails(process: Process, hot: Node) -> None:
    session = await demoted(process)
    hot.kill()
    assert await process.store.get(session.session_id) == session
    await process.settled()
    assert process.store.hot_failures == 1


async def test_a_promotion_whose_load_fails_releases_its_guard(
    process: Process, hot: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, loads = await demoted(process), 0

    async def load(session_id: UUID, tenant_id: UUID | None = None) -> tuple[Session, int] | None:
        nonlocal loads
        loads += 1
        if loads == 2:
            raise ConnectionError("lost")
        return await PostgresSessionStore.load(process.record, session_id, tenant_id)

    monkeypatch.setattr(process.record, "load", load)
    assert await process.store.get(session.session_id) == session
    await process.settled()
    assert loads == 2
    assert await hot.ask("DBSIZE") == 0
    assert await process.store.promote_to_hot(session.session_id) is True


async def test_a_cancelled_promotion_releases_its_guard(
    process: Process, hot: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, loading = await demoted(process), asyncio.Event()

    async def load(session_id: UUID, tenant_id: UUID | None = None) -> tuple[Session, int] | None:
        if await hot.ask("DBSIZE"):
            loading.set()
            await asyncio.Event().wait()
        return await PostgresSessionStore.load(process.record, session_id, tenant_id)

    monkeypatch.setattr(process.record, "load", load)
    promoting = asyncio.create_task(process.store.promote_to_hot(session.session_id))
    await loading.wait()
    promoting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await promoting
    await process.settled()
    assert await hot.ask("DBSIZE") == 0


async def test_who_promotes_by_hand_waits_for_the_promotion_that_goes_on(process: Process) -> None:
    session = await demoted(process)
    for _ in range(20):
        await process.store.get(session.session_id)
        assert await process.store.promote_to_hot(session.session_id) in (True, False)
        assert await process.store.demote_to_persistent(session.session_id) is True


async def test_closing_stops_promotions(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    process = await start()
    session, entered = await demoted(process), asyncio.Event()

    async def hang(*args: Any, **kwargs: Any) -> bool:
        entered.set()
        await asyncio.Event().wait()
        return False

    monkeypatch.setattr(process.store._hot, "guard_load", hang)
    await process.store.get(session.session_id)
    await entered.wait()
    async with asyncio.timeout(5):
        await process.store.aclose()


@pytest.mark.parametrize("staggered", [False, True])
async def test_concurrent_misses_are_a_single_flight(process: Process, staggered: bool) -> None:
    session = await demoted(process)
    process.store._loads._patience = 60.0

    async def read(number: int) -> Session | None:
        for _ in range(number if staggered else 0):
            await asyncio.sleep(0)
        return await process.store.get(session.session_id)

    found = await asyncio.gather(*map(read, range(100)))
    assert found == [session] * 100
    assert len({id(each) for each in found}) == 100
    await process.settled()
    # One for those that wait, and one of the promotion.
    assert process.record.most_at_once <= 2
    assert process.record.loads < 25


async def test_after_many_cancellations_connections_work_and_reads_are_current(process: Process) -> None:
    session = await process.saved()
    for turn in range(24):
        attempt = session.model_copy(deep=True)
        calls: list[asyncio.Task[object]] = [
            asyncio.create_task(process.store.get(session.session_id)) for _ in range(12)
        ]
        calls += [asyncio.create_task(process.store.save(attempt))]
        for _ in range(turn):
            await asyncio.sleep(0)
        for call in calls[turn % 2 :: 2]:
            call.cancel()
            call.cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert not any(isinstance(result, Exception) and not isinstance(result, ConflictError) for result in results)
        # A save that was cancelled may still be committed, before the next one.
        recorded = await process.record.get(session.session_id)
        session = await process.store.get(session.session_id) or session
        assert recorded
        assert session.revision >= recorded.revision
    assert await asyncio.gather(*(process.store.get(session.session_id) for _ in range(100))) == [session] * 100
    assert process.store.hot_failures == 0
