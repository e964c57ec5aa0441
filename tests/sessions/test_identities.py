"""One open session per channel identity and agent, also beside other writers and after lost answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any, TypeAlias

import pytest

from convostore.call.call import Call, Proceed
from convostore.contracts import SessionStore
from convostore.embedded import Embedded
from convostore.errors import ConflictError, ConnectionError
from convostore.models import Channel, Session, SessionStatus
from convostore.testing.session.identities import close, new_identity
from tests.postgres.databases import connected
from tests.sessions.conftest import Worker

Meanwhile: TypeAlias = "Callable[[SessionStore, Session], Awaitable[Any]]"


async def test_of_fifty_callers_of_several_processes_one_creates(worker: Worker) -> None:
    stores = [await worker() for _ in range(5)]
    for _ in range(6):
        identity = new_identity()
        found = await asyncio.gather(*(stores[number % 5].get_or_create(*identity) for number in range(50)))
        assert len({session.session_id for session, _ in found}) == 1
        assert sum(created for _, created in found) == 1
        assert await stores[0].list_by_agent(*identity[:2]) == [found[0][0]]


async def test_callers_beside_closings_and_saves_create_one_session_per_closing(worker: Worker) -> None:
    stores = [await worker() for _ in range(3)]
    identity, closings = new_identity(), 12
    done = asyncio.Event()
    created_ids, returned_ids = list[Any](), set[Any]()

    async def ask(store: SessionStore) -> None:
        while not done.is_set():
            session, created = await store.get_or_create(*identity)
            returned_ids.add(session.session_id)
            if created:
                created_ids.append(session.session_id)
            session.turn_count += 1
            try:
                await store.save(session)
            except ConflictError:
                continue

    async def close_often() -> None:
        closed = 0
        while closed < closings:
            session = await stores[0].get_by_channel(identity[0], *identity[2:])
            if session is None or session.status is SessionStatus.CLOSED:
                await asyncio.sleep(0)
                continue
            try:
                await close(stores[0], session)
            except ConflictError:
                continue
            closed += 1
        done.set()

    await asyncio.gather(close_often(), *(ask(stores[number % 3]) for number in range(9)))
    assert len(created_ids) == len(set(created_ids)) in (closings, closings + 1)
    assert returned_ids == set(created_ids)
    sessions = await stores[1].list_by_agent(*identity[:2])
    assert {session.session_id for session in sessions} == set(created_ids)
    assert sum(session.status is not SessionStatus.CLOSED for session in sessions) == len(created_ids) - closings


async def nothing(_: SessionStore, __: Session) -> None:
    """Nothing happens meanwhile."""


async def save(store: SessionStore, session: Session) -> None:
    """Somebody else saves the session meanwhile."""
    await store.save(session)


@pytest.mark.parametrize("meanwhile", [nothing, save, close])
async def test_a_retry_returns_what_its_first_attempt_created(worker: Worker, meanwhile: Meanwhile) -> None:
    store, identity = await worker(), new_identity()

    async def lose_the_first_answer(call: Call, proceed: Proceed) -> Any:
        session, created = await proceed(call)
        assert created
        # By somebody else: a call within this one would be part of it.
        await asyncio.create_task(meanwhile(store, session.model_copy(deep=True)), context=Context())  # type: ignore[arg-type]
        return await proceed(call)

    session, created = await store.with_interceptors(lose_the_first_answer).get_or_create(*identity)
    assert created
    assert await store.list_by_agent(*identity[:2]) == [session]


async def test_a_caller_that_gave_up_leaves_one_session_for_the_next(worker: Worker) -> None:
    stores = [await worker() for _ in range(2)]
    for number in range(20):
        identity = new_identity()
        asking = asyncio.ensure_future(stores[0].get_or_create(*identity))
        for _ in range(number):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        session, _ = await stores[1].get_or_create(*identity)
        assert await stores[0].get_or_create(*identity) == (session, False)
        assert len(await stores[0].list_by_agent(*identity[:2])) == 1


@pytest.mark.parametrize("kind", ["postgres", "tiered"])
async def test_the_identity_is_deleted_with_its_session(worker: Worker, engines: Embedded) -> None:
    store, identity = await worker(), new_identity()
    tenant = identity[0]
    session, _ = await store.get_or_create(*identity)
    async with connected(engines.postgres_dsn) as admin:
        named = "SELECT session_id FROM convostore.session_identity WHERE tenant_id = $1"
        assert await admin.fetch(named, tenant) == [(session.session_id,)]
        session.channel = Channel.VOICE
        await store.save(session)
        await store.delete(session.session_id)
        assert await admin.fetch(named, tenant) == []


@pytest.mark.parametrize("kind", ["postgres"])
async def test_one_that_has_to_wait_for_another_keeps_its_deadline(worker: Worker, engines: Embedded) -> None:
    store, identity = await worker(), new_identity()
    session, _ = await store.get_or_create(*identity)
    await close(store, session)
    async with connected(engines.postgres_dsn) as admin, admin.transaction():
        await admin.execute("SELECT FROM convostore.session_identity WHERE tenant_id = $1 FOR UPDATE", identity[0])
        with pytest.raises(ConnectionError):
            await store.within(0.3).get_or_create(*identity)
    assert (await store.get_or_create(*identity))[0].session_id != session.session_id
    assert len(await store.list_by_agent(*identity[:2])) == 2
