"""Hot copies beside units of work: never older than what was committed, and there again after a refusal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random
from typing import Any
from uuid import uuid4

import pytest

from convostore.embedded import Embedded
from convostore.errors import ConflictError
from convostore.models import AuditEvent, Session
from convostore.postgres import (
    PostgresAuditStore,
    PostgresConfigStore,
    PostgresMemoryStore,
    PostgresProfileStore,
    PostgresSessionStore,
    PostgresTurnStore,
    create_pool,
)
from convostore.redis import create_client
from convostore.testing.factories import make_event, make_session
from convostore.tiered import TieredSessionStore
from tests.counting import Counted

HOT = "convostore.hot.reads"


@pytest.fixture
async def processes(engines: Embedded) -> AsyncIterator[list[PostgresTurnStore]]:
    """Stores of two processes, as far as hot copies are concerned."""
    async with (
        await create_pool(engines.postgres_dsn) as pool,
        create_client(engines.redis_url) as one,
        create_client(engines.redis_url) as other,
    ):
        made = [
            PostgresTurnStore(
                TieredSessionStore(client, PostgresSessionStore(pool, timeout=60), timeout=60),
                PostgresConfigStore(pool, timeout=60),
                PostgresMemoryStore(pool, timeout=60),
                PostgresAuditStore(pool, timeout=60),
                PostgresProfileStore(pool, timeout=60),
            )
            for client in (one, other)
        ]
        yield made
        for store in made:
            await store.sessions.aclose()  # type: ignore[attr-defined]


async def commit(store: PostgresTurnStore, session: Session, event: AuditEvent) -> None:
    async with store.unit_of_work(session.tenant_id) as work:
        work.save_session(session)
        work.save_event(event)


async def test_a_unit_publishes_the_copy_that_it_wrote(processes: list[PostgresTurnStore]) -> None:
    one, other = processes
    session = make_session(uuid4())
    await one.sessions.save(session)
    counted = Counted()
    for _ in range(3):
        await commit(one, session, make_event(session.tenant_id, session_id=session.session_id))
        assert await other.sessions.get(session.session_id) == session
    assert counted[HOT] == {("hit",): 3}


async def test_after_a_unit_that_something_else_refused_reads_are_as_before(processes: list[PostgresTurnStore]) -> None:
    one, other = processes
    session = make_session(uuid4())
    event = make_event(session.tenant_id, session_id=session.session_id)
    await one.sessions.save(session)
    await one.audit.save_event(event)
    changed = event.model_copy(update={"event_data": {"other": 1}})
    for _ in range(3):
        with pytest.raises(ConflictError):
            await commit(one, session, changed)
        for store in processes:
            assert await store.sessions.get(session.session_id) == session
    await commit(other, session, make_event(session.tenant_id))
    assert await one.sessions.get(session.session_id) == session


async def test_reads_beside_units_never_go_back(processes: list[PostgresTurnStore]) -> None:
    dice, acknowledged, writing = Random(3), 1, True
    session = make_session(uuid4())
    known = make_event(session.tenant_id, session_id=session.session_id)
    await processes[0].sessions.save(session)
    await processes[0].audit.save_event(known)
    refused: Any = known.model_copy(update={"event_data": {"other": 1}})

    async def write() -> None:
        nonlocal acknowledged
        for _ in range(25):
            store = dice.choice(processes)
            found = await store.sessions.get(session.session_id)
            assert found is not None
            event = refused if dice.random() < 0.3 else make_event(session.tenant_id, session_id=session.session_id)
            try:
                await commit(store, found, event)
            except ConflictError:
                continue
            acknowledged = max(acknowledged, found.revision)

    async def read(store: PostgresTurnStore) -> int:
        reads = 0
        while writing:
            least = acknowledged
            found = await store.sessions.get(session.session_id)
            assert found is not None
            assert found.revision >= least
            reads += 1
        return reads

    reading = [asyncio.create_task(read(store)) for store in processes for _ in range(2)]
    await asyncio.gather(*(write() for _ in range(4)))
    writing = False
    assert min(await asyncio.gather(*reading)) > 10
    final = await processes[0].sessions.get(session.session_id)
    assert final is not None
    assert final.revision == acknowledged > 5
