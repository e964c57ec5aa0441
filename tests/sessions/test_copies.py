"""What may be published as a hot copy after others have told what they saw, also when a writer told nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest

from convostore.embedded import Embedded
from convostore.errors import ConflictError
from convostore.models import Session
from convostore.postgres import PostgresSessionStore, create_pool
from convostore.redis import create_client
from convostore.testing.factories import make_session
from convostore.tiered import TieredSessionStore
from convostore.tiered.copies import HotCopies


@pytest.fixture
async def truth(engines: Embedded) -> AsyncIterator[PostgresSessionStore]:
    """PostgreSQL alone: what is written here is told to no fence, as by a writer that crashed after its commit."""
    async with await create_pool(engines.postgres_dsn) as pool:
        yield PostgresSessionStore(pool)


@pytest.fixture
async def tiered(engines: Embedded, truth: PostgresSessionStore) -> AsyncIterator[TieredSessionStore]:
    async with create_client(engines.redis_url) as client:
        yield TieredSessionStore(client, truth)


@pytest.fixture
async def slow_reader(engines: Embedded) -> AsyncIterator[HotCopies]:
    """The hot tier as a process sees it that takes long between reading the truth and publishing it."""
    async with create_client(engines.redis_url) as client:
        yield HotCopies(client, ttl=timedelta(hours=1), fence_ttl=timedelta(minutes=1), timeout=5.0)


@pytest.fixture
async def session(truth: PostgresSessionStore) -> Session:
    session = make_session(uuid4())
    for _ in range(3):
        await truth.save(session)
    return session


async def test_what_nobody_has_gone_past_is_published(
    tiered: TieredSessionStore, slow_reader: HotCopies, session: Session
) -> None:
    await slow_reader.enter(session.session_id, "slow", writing=False)
    assert await tiered.get(session.session_id) == session
    await slow_reader.leave(session.session_id, "slow", session.revision, session)
    copy = await slow_reader.read(session.session_id)
    assert copy is not None
    assert copy.session == session


async def test_a_refusal_tells_the_revision_it_was_refused_for(
    tiered: TieredSessionStore, truth: PostgresSessionStore, slow_reader: HotCopies, session: Session
) -> None:
    await slow_reader.enter(session.session_id, "slow", writing=False)
    newer = session.model_copy()
    await truth.save(newer)
    with pytest.raises(ConflictError):
        await tiered.save(session.model_copy())
    await slow_reader.leave(session.session_id, "slow", session.revision, session)
    assert await tiered.get(session.session_id) == newer


@pytest.mark.parametrize("asked", ["get", "delete", "save"])
async def test_an_answer_that_a_session_is_gone_is_told(
    tiered: TieredSessionStore, truth: PostgresSessionStore, slow_reader: HotCopies, session: Session, asked: str
) -> None:
    await slow_reader.enter(session.session_id, "slow", writing=False)
    await truth.delete(session.session_id)
    if asked == "get":
        assert await tiered.get(session.session_id) is None
    elif asked == "delete":
        assert await tiered.delete(session.session_id) is False
    else:
        with pytest.raises(ConflictError):
            await tiered.save(session.model_copy())
    await slow_reader.leave(session.session_id, "slow", session.revision, session)
    assert await tiered.get(session.session_id) is None


async def test_the_first_revision_of_a_session_counts_as_higher_than_those_of_one_that_had_its_id(
    tiered: TieredSessionStore, truth: PostgresSessionStore, slow_reader: HotCopies, session: Session
) -> None:
    await slow_reader.enter(session.session_id, "slow", writing=False)
    await truth.delete(session.session_id)
    another = make_session(session.tenant_id, session_id=session.session_id)
    await tiered.save(another)
    await slow_reader.leave(session.session_id, "slow", session.revision, session)
    assert await tiered.get(session.session_id) == another


async def test_a_first_revision_removes_the_copy_of_a_session_that_had_its_id(
    tiered: TieredSessionStore, truth: PostgresSessionStore, slow_reader: HotCopies, session: Session
) -> None:
    await slow_reader.enter(session.session_id, "slow", writing=False)
    await slow_reader.leave(session.session_id, "slow", session.revision, session)
    await truth.delete(session.session_id)
    another = make_session(session.tenant_id, session_id=session.session_id)
    await truth.save(another)
    await slow_reader.leave(session.session_id, "lost", another.revision, another)
    assert await tiered.get(session.session_id) == another
