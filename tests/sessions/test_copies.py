"""What calls report of a session, so that a slower process publishes nothing older."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from convostore.embedded import Embedded
from convostore.errors import ConflictError
from convostore.models import Session
from convostore.postgres import PostgresSessionStore, create_pool
from convostore.redis import create_client
from convostore.testing.factories import full_session, make_session
from convostore.tiered import TieredSessionStore
from convostore.tiered.copies import HotCopies
from convostore.tiered.values import Guard
from tests.sessions.guards import copy_key
from tests.unit.newer import with_news


@pytest.fixture
async def client(engines: Embedded) -> AsyncIterator[Redis]:
    async with create_client(engines.redis_url) as opened:
        yield opened


@pytest.fixture
async def record(engines: Embedded) -> AsyncIterator[PostgresSessionStore]:
    """PostgreSQL alone: its writes have no guard, like those of a writer that crashed after its commit."""
    async with await create_pool(engines.postgres_dsn) as pool:
        yield PostgresSessionStore(pool)


@pytest.fixture
async def tiered(client: Redis, record: PostgresSessionStore) -> AsyncIterator[TieredSessionStore]:
    store = TieredSessionStore(client, record)
    yield store
    await store.aclose()


@pytest.fixture
async def session(record: PostgresSessionStore) -> Session:
    session = make_session(uuid4())
    for _ in range(3):
        await record.save(session)
    return session


class SlowReader:
    """A process that takes long between reading the system of record and publishing."""

    def __init__(self, hot: HotCopies, session: Session) -> None:
        self._hot = hot
        self._guard = Guard(session.session_id, session.tenant_id, "slow")
        self._read = session.model_copy(deep=True)

    async def load(self) -> None:
        assert await self._hot.guard_load(self._guard, generation=0)

    async def publish(self) -> bool | None:
        return await self._hot.release(self._guard, self._read.revision, self._read)


@pytest.fixture
async def slow_reader(client: Redis, session: Session) -> SlowReader:
    """Has loaded the session and not published yet."""
    reader = SlowReader(HotCopies(client, ttl=timedelta(hours=1), lease=timedelta(seconds=2), timeout=5.0), session)
    await reader.load()
    return reader


async def test_reads_report_nothing(tiered: TieredSessionStore, slow_reader: SlowReader, session: Session) -> None:
    assert await tiered.get(session.session_id) == session
    assert await tiered.get(session.session_id, tenant_id=uuid4()) is None
    assert await slow_reader.publish() is True
    assert await tiered.get(session.session_id) == session


async def test_a_save_reports_its_revision(
    tiered: TieredSessionStore, slow_reader: SlowReader, session: Session
) -> None:
    await tiered.save(session)
    assert await slow_reader.publish() is False
    assert await tiered.get(session.session_id) == session


async def test_a_conflict_reports_the_current_revision(
    tiered: TieredSessionStore, record: PostgresSessionStore, slow_reader: SlowReader, session: Session
) -> None:
    newer = session.model_copy()
    await record.save(newer)
    with pytest.raises(ConflictError):
        await tiered.save(session)
    assert await slow_reader.publish() is False
    assert await tiered.get(session.session_id) == newer


@pytest.mark.parametrize("operation", ["delete", "save"])
@pytest.mark.parametrize("gone", [False, True])
async def test_a_deletion_is_reported_by_whoever_finds_it(
    tiered: TieredSessionStore,
    record: PostgresSessionStore,
    slow_reader: SlowReader,
    session: Session,
    operation: str,
    gone: bool,
) -> None:
    if gone:
        await record.delete(session.session_id)
    elif operation == "save":
        await tiered.delete(session.session_id)
    if operation == "delete":
        assert await tiered.delete(session.session_id, tenant_id=session.tenant_id) is not gone
    else:
        with pytest.raises(ConflictError):
            await tiered.save(session)
    assert await slow_reader.publish() is False
    assert await tiered.get(session.session_id) is None


async def test_a_sweep_reports_what_it_deletes(
    client: Redis, record: PostgresSessionStore, slow_reader: SlowReader, session: Session
) -> None:
    class Sweeping(PostgresSessionStore):
        async def remove_old(self, limit: int) -> list[tuple[UUID, UUID]]:
            await record.delete(session.session_id)
            return [(session.tenant_id, session.session_id)]

    store = TieredSessionStore(client, Sweeping(record._database.pool))
    assert (await store.sweep()).deleted == 1
    assert await slow_reader.publish() is False
    assert await store.get(session.session_id) is None


async def test_a_first_revision_outranks_the_revisions_of_a_deleted_session_with_its_id(
    tiered: TieredSessionStore, record: PostgresSessionStore, slow_reader: SlowReader, session: Session
) -> None:
    await record.delete(session.session_id)
    another = make_session(session.tenant_id, session_id=session.session_id)
    await tiered.save(another)
    assert await slow_reader.publish() is False
    assert await tiered.get(session.session_id) == another


async def test_a_refusal_to_another_tenant_reports_nothing(
    tiered: TieredSessionStore, slow_reader: SlowReader, session: Session
) -> None:
    for overwrite in (False, True):
        with pytest.raises(ConflictError):
            await tiered.save(make_session(uuid4(), session_id=session.session_id), overwrite=overwrite)
    assert await tiered.delete(session.session_id, tenant_id=uuid4()) is False
    assert await slow_reader.publish() is True


async def test_a_copy_of_a_newer_release_is_read_without_what_is_new(client: Redis, tiered: TieredSessionStore) -> None:
    session = full_session(uuid4())
    await tiered.save(session)
    key = copy_key(session.session_id)
    value: Any = await client.get(key)
    header, _, payload = value.partition(b"\np")
    await client.set(key, b"\np".join((header, with_news(payload, session).encode())))
    copy = await tiered._hot.read(session.session_id)
    assert copy is not None
    assert copy.session == session
    assert await tiered.get(session.session_id) == session
