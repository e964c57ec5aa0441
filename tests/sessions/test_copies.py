"""Which copies may be published after other processes reported revisions, or failed to report one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest

from convostore.embedded import Embedded
from convostore.errors import ConflictError
from convostore.models import Session
from convostore.postgres import PostgresSessionStore, create_pool
from convostore.redis import create_client, keys
from convostore.testing.factories import full_session, make_session
from convostore.tiered import TieredSessionStore
from convostore.tiered.copies import HotCopies
from tests.unit.newer import with_news


@pytest.fixture
async def record(engines: Embedded) -> AsyncIterator[PostgresSessionStore]:
    """PostgreSQL alone: its writes have no guard, like those of a writer that crashed after its commit."""
    async with await create_pool(engines.postgres_dsn) as pool:
        yield PostgresSessionStore(pool)


@pytest.fixture
async def tiered(engines: Embedded, record: PostgresSessionStore) -> AsyncIterator[TieredSessionStore]:
    async with create_client(engines.redis_url) as client:
        yield TieredSessionStore(client, record)


@pytest.fixture
async def slow_reader(engines: Embedded) -> AsyncIterator[HotCopies]:
    """The hot tier of a process that takes long between reading the system of record and publishing."""
    async with create_client(engines.redis_url) as client:
        yield HotCopies(client, ttl=timedelta(hours=1), guard_ttl=timedelta(minutes=1), timeout=5.0)


@pytest.fixture
async def session(record: PostgresSessionStore) -> Session:
    session = make_session(uuid4())
    for _ in range(3):
        await record.save(session)
    return session


async def test_the_last_release_publishes_if_no_higher_revision_was_reported(
    tiered: TieredSessionStore, slow_reader: HotCopies, session: Session
) -> None:
    await slow_reader.place_guard(session.session_id, "slow", writing=False)
    assert await tiered.get(session.session_id) == session
    await slow_reader.release_guard(session.session_id, "slow", session.revision, session)
    copy = await slow_reader.read(session.session_id)
    assert copy is not None
    assert copy.session == session


async def test_a_conflict_reports_the_current_revision(
    tiered: TieredSessionStore, record: PostgresSessionStore, slow_reader: HotCopies, session: Session
) -> None:
    await slow_reader.place_guard(session.session_id, "slow", writing=False)
    newer = session.model_copy()
    await record.save(newer)
    with pytest.raises(ConflictError):
        await tiered.save(session.model_copy())
    await slow_reader.release_guard(session.session_id, "slow", session.revision, session)
    assert await tiered.get(session.session_id) == newer


@pytest.mark.parametrize("operation", ["get", "delete", "save"])
async def test_an_operation_that_finds_no_session_reports_that_it_is_deleted(
    tiered: TieredSessionStore, record: PostgresSessionStore, slow_reader: HotCopies, session: Session, operation: str
) -> None:
    await slow_reader.place_guard(session.session_id, "slow", writing=False)
    await record.delete(session.session_id)
    if operation == "get":
        assert await tiered.get(session.session_id) is None
    elif operation == "delete":
        assert await tiered.delete(session.session_id) is False
    else:
        with pytest.raises(ConflictError):
            await tiered.save(session.model_copy())
    await slow_reader.release_guard(session.session_id, "slow", session.revision, session)
    assert await tiered.get(session.session_id) is None


async def test_a_first_revision_outranks_the_revisions_of_a_deleted_session_with_its_id(
    tiered: TieredSessionStore, record: PostgresSessionStore, slow_reader: HotCopies, session: Session
) -> None:
    await slow_reader.place_guard(session.session_id, "slow", writing=False)
    await record.delete(session.session_id)
    another = make_session(session.tenant_id, session_id=session.session_id)
    await tiered.save(another)
    await slow_reader.release_guard(session.session_id, "slow", session.revision, session)
    assert await tiered.get(session.session_id) == another


async def test_a_first_revision_removes_the_copy_of_a_deleted_session_with_its_id(
    tiered: TieredSessionStore, record: PostgresSessionStore, slow_reader: HotCopies, session: Session
) -> None:
    await slow_reader.place_guard(session.session_id, "slow", writing=False)
    await slow_reader.release_guard(session.session_id, "slow", session.revision, session)
    await record.delete(session.session_id)
    another = make_session(session.tenant_id, session_id=session.session_id)
    await record.save(another)
    await slow_reader.release_guard(session.session_id, "lost", another.revision, another)
    assert await tiered.get(session.session_id) == another


async def test_a_copy_of_a_newer_release_is_read_without_what_is_new(
    engines: Embedded, tiered: TieredSessionStore, slow_reader: HotCopies
) -> None:
    session = full_session(uuid4())
    await tiered.save(session)
    async with create_client(engines.redis_url) as client:
        key = f"{keys.bucket(session.session_id)}copy:{session.session_id}"
        header, _, payload = (await client.get(key)).partition(b"\np")
        await client.set(key, b"\np".join((header, with_news(payload, session).encode())))
    copy = await slow_reader.read(session.session_id)
    assert copy is not None
    assert copy.session == session
    assert await tiered.get(session.session_id) == session
