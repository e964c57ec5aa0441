"""Guards: who may publish a copy, and for how long it lives, by the scripts on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from convostore.embedded import Embedded
from convostore.models import Session
from convostore.redis import create_client
from convostore.testing.factories import make_session
from convostore.tiered.copies import ANY_REVISION, DELETED, PUBLISH_WITHIN, HotCopies
from convostore.tiered.values import Guard
from tests.redis.administration import all_keys, flush
from tests.sessions.guards import another, copy_key, guard_key, pass_time, running_call, tokens

TTL, LEASE = timedelta(hours=1), timedelta(seconds=2)
WITHIN = PUBLISH_WITHIN.total_seconds()
DATABASE = 10


@pytest.fixture
async def client(engines: Embedded) -> AsyncIterator[Redis]:
    """A client of an empty database."""
    async with create_client(f"{engines.redis_url}?db={DATABASE}") as opened:
        await flush(opened)
        yield opened


@pytest.fixture
def hot(client: Redis) -> HotCopies:
    return HotCopies(client, ttl=TTL, lease=LEASE, timeout=60.0)


@pytest.fixture
def session() -> Session:
    return make_session(uuid4(), revision=3)


@pytest.fixture
def guard(session: Session) -> Guard:
    return Guard(session.session_id, session.tenant_id, "one")


def at(session: Session, revision: int) -> Session:
    """Return a session at a revision."""
    return session.model_copy(update={"revision": revision})


async def publish(hot: HotCopies, session: Session, generation: int = 0) -> None:
    """Publish a copy as a load does."""
    guard = Guard(session.session_id, session.tenant_id, "publishing")
    assert await hot.guard_load(guard, generation=generation)
    assert await hot.release(guard, session.revision, session, generation) is True


async def revision(hot: HotCopies, session: Session) -> int | None:
    """Return the revision of the copy that is there."""
    copy = await hot.read(session.session_id)
    return copy and copy.session.revision


async def lifetime(client: Redis, session: Session) -> float:
    """Return how many seconds a copy has to live."""
    return await client.pttl(copy_key(session.session_id)) / 1_000


# What a token does when it is placed.


async def test_a_write_removes_the_copy(hot: HotCopies, session: Session, guard: Guard) -> None:
    await publish(hot, session)
    assert await hot.guard_write(guard, expected=3)
    assert await hot.read(session.session_id) is None


async def test_a_load_is_refused_where_a_valid_copy_is(
    hot: HotCopies, client: Redis, session: Session, guard: Guard
) -> None:
    await publish(hot, session, 7)
    assert not await hot.guard_load(guard, generation=7)
    assert await tokens(client, guard) == []
    assert await revision(hot, session) == 3


async def test_a_load_replaces_a_copy_of_an_earlier_generation(hot: HotCopies, session: Session, guard: Guard) -> None:
    await publish(hot, session, 7)
    assert await hot.guard_load(guard, generation=8)
    assert await hot.read(session.session_id) is None


@pytest.mark.parametrize("writing", [False, True])
async def test_a_load_is_refused_while_another_is_inside(hot: HotCopies, guard: Guard, writing: bool) -> None:
    other = another(guard, "other")
    assert await (hot.guard_write(other, expected=3) if writing else hot.guard_load(other, generation=0))
    assert not await hot.guard_load(guard, generation=0)
    await hot.release(other, 0)
    assert await hot.guard_load(guard, generation=0)


async def test_a_write_is_never_refused(hot: HotCopies, client: Redis, guard: Guard) -> None:
    assert await hot.guard_load(guard, generation=0)
    assert await hot.guard_write(another(guard, "two"), expected=3)
    assert await hot.guard_write(another(guard, "three"), expected=3)
    assert await tokens(client, guard) == ["one", "two", "three"]


@pytest.mark.parametrize("seconds", [0.5, 30.0])
async def test_a_write_outlasts_the_deadline_of_its_call(
    hot: HotCopies, client: Redis, guard: Guard, seconds: float
) -> None:
    with running_call(seconds):
        await hot.guard_write(guard, expected=3)
    assert await pass_time(client, guard, seconds + WITHIN)
    assert not await hot.guard_load(another(guard, "two"), generation=0)
    assert await pass_time(client, guard, 2.0)
    assert await hot.guard_load(another(guard, "two"), generation=0)


async def test_a_load_holds_others_up_no_longer_than_it_may_publish(
    hot: HotCopies, client: Redis, guard: Guard
) -> None:
    with running_call(60.0):
        await hot.guard_load(guard, generation=0)
    assert await pass_time(client, guard, WITHIN)
    assert await hot.guard_load(another(guard, "two"), generation=0)


# Who publishes.


async def test_who_leaves_last_publishes(hot: HotCopies, client: Redis, session: Session, guard: Guard) -> None:
    two = another(guard, "two")
    await hot.guard_write(guard, expected=2)
    await hot.guard_write(two, expected=3)
    assert await hot.release(guard, 3, session) is False
    assert await hot.read(session.session_id) is None
    assert await hot.release(two, 4, at(session, 4)) is True
    assert await revision(hot, session) == 4
    assert await lifetime(client, session) > LEASE.total_seconds()
    assert await all_keys(client) == [copy_key(session.session_id).encode()]


async def test_who_leaves_last_publishes_nothing_below_what_was_reported(
    hot: HotCopies, client: Redis, session: Session, guard: Guard
) -> None:
    await hot.guard_load(guard, generation=0)
    writer = another(guard, "two")
    await hot.guard_write(writer, expected=3)
    assert await hot.release(writer, 4, at(session, 4)) is False
    assert await hot.release(guard, 3, session) is False
    assert await all_keys(client) == []


@pytest.mark.parametrize("reported", [DELETED, 1])
async def test_a_deletion_and_a_first_revision_outrank_what_others_hold(
    hot: HotCopies, session: Session, guard: Guard, reported: int
) -> None:
    await hot.guard_load(guard, generation=0)
    writer = another(guard, "two")
    await hot.guard_write(writer, expected=ANY_REVISION)
    await hot.release(writer, reported)
    assert await hot.release(guard, 3, session) is False
    assert await hot.read(session.session_id) is None


async def test_what_was_reported_counts_for_those_inside_alone(hot: HotCopies, session: Session, guard: Guard) -> None:
    await hot.guard_write(guard, expected=ANY_REVISION)
    await hot.release(guard, DELETED)
    await publish(hot, at(session, 1))
    assert await revision(hot, session) == 1


@pytest.mark.parametrize("lost", ["flushed", "expired", "of another server"])
async def test_without_its_token_nobody_publishes(
    hot: HotCopies, client: Redis, session: Session, guard: Guard, lost: str
) -> None:
    await hot.guard_load(guard, generation=0)
    if lost == "flushed":
        await flush(client)
    elif lost == "expired":
        assert await pass_time(client, guard, WITHIN)
    else:
        value: Any = await client.get(guard_key(guard))
        await client.set(guard_key(guard), value.replace(b"G|", b"G|x"))
    assert await hot.release(guard, 3, session) is False
    assert await all_keys(client) == []


async def test_a_writer_that_took_long_publishes_nothing(
    hot: HotCopies, client: Redis, session: Session, guard: Guard
) -> None:
    with running_call(60.0):
        await hot.guard_write(guard, expected=2)
    assert await pass_time(client, guard, WITHIN + 0.001)
    assert await hot.release(guard, 3, session) is False
    assert await all_keys(client) == []


@pytest.mark.parametrize(("reported", "left"), [(2, 3), (3, 3), (4, None), (1, None), (DELETED, None), (0, 3)])
async def test_without_a_token_too_a_report_removes_what_it_outranks(
    hot: HotCopies, session: Session, guard: Guard, reported: int, left: int | None
) -> None:
    await publish(hot, session)
    assert await hot.release(guard, reported, None) is False
    assert await revision(hot, session) == left


# What a write of unknown outcome leaves.


async def abandoned(hot: HotCopies, client: Redis, guard: Guard, expected: int) -> None:
    """Let a write be given up, and its token expire."""
    with running_call(1.0):
        await hot.guard_write(guard, expected=expected)
    assert await pass_time(client, guard, 1.0 + WITHIN + 1.0)


@pytest.mark.parametrize("expected", [3, 5, ANY_REVISION])
async def test_a_copy_lives_for_a_lease_while_a_write_may_still_be_applied_to_it(
    hot: HotCopies, client: Redis, session: Session, guard: Guard, expected: int
) -> None:
    await abandoned(hot, client, guard, expected)
    for _ in range(2):
        await publish(hot, session)
        assert 0 < await lifetime(client, session) <= LEASE.total_seconds()
        await hot.evict(session.session_id, None)


async def test_the_lease_of_a_copy_begins_before_its_load(
    hot: HotCopies, client: Redis, session: Session, guard: Guard
) -> None:
    await abandoned(hot, client, guard, 3)
    slow = another(guard, "slow")
    assert await hot.guard_load(slow, generation=0)
    assert await pass_time(client, guard, 1.5)
    assert await hot.release(slow, 3, session) is True
    assert 0 < await lifetime(client, session) <= 0.5
    await hot.evict(session.session_id, None)
    assert await hot.guard_load(slow, generation=0)
    assert await pass_time(client, guard, LEASE.total_seconds())
    assert await hot.release(slow, 3, session) is False
    assert await hot.read(session.session_id) is None


async def test_a_write_cannot_be_applied_to_a_later_revision_than_it_expected(
    hot: HotCopies, client: Redis, session: Session, guard: Guard
) -> None:
    await abandoned(hot, client, guard, 2)
    await publish(hot, session)
    assert await lifetime(client, session) > LEASE.total_seconds()
    # Revisions restart when the session is deleted, and its id used again.
    await hot.guard_write(guard, expected=ANY_REVISION)
    await hot.release(guard, DELETED)
    await publish(hot, at(session, 2))
    assert await lifetime(client, session) <= LEASE.total_seconds()


async def test_the_later_of_two_writes_is_remembered_with_the_earlier(
    hot: HotCopies, client: Redis, session: Session, guard: Guard
) -> None:
    await abandoned(hot, client, guard, 3)
    await abandoned(hot, client, another(guard, "two"), 1)
    await publish(hot, session)
    assert await lifetime(client, session) <= LEASE.total_seconds()


async def test_an_unresolved_write_is_forgotten_when_a_copy_of_its_time_would_have_expired(
    hot: HotCopies, client: Redis, session: Session, guard: Guard
) -> None:
    await abandoned(hot, client, guard, ANY_REVISION)
    assert await client.pttl(guard_key(guard)) > TTL.total_seconds() * 1_000
    await publish(hot, session)
    await hot.evict(session.session_id, None)
    assert await pass_time(client, guard, TTL.total_seconds())
    await publish(hot, session)
    assert await lifetime(client, session) > LEASE.total_seconds()
    assert await all_keys(client) == [copy_key(session.session_id).encode()]


async def test_a_write_whose_outcome_is_known_leaves_nothing(
    hot: HotCopies, client: Redis, session: Session, guard: Guard
) -> None:
    for reported in (3, 0, DELETED):
        await hot.guard_write(guard, expected=ANY_REVISION)
        await hot.release(guard, reported)
        assert await all_keys(client) == []
    # Even if it was known late.
    with running_call(1.0):
        await hot.guard_write(guard, expected=ANY_REVISION)
    assert await pass_time(client, guard, 60.0)
    await hot.release(guard, 3)
    await publish(hot, session)
    assert await lifetime(client, session) > LEASE.total_seconds()


async def test_a_repeated_write_leaves_its_first_attempt_unresolved(
    hot: HotCopies, client: Redis, session: Session, guard: Guard
) -> None:
    await hot.guard_write(guard, expected=2)
    await hot.guard_write(guard, expected=2)
    assert await tokens(client, guard) == ["one"]
    assert await hot.release(guard, 3, session) is True
    assert await lifetime(client, session) > LEASE.total_seconds()
    await hot.guard_write(guard, expected=3)
    await hot.release(guard, 0)
    await publish(hot, at(session, 2))
    assert await lifetime(client, session) <= LEASE.total_seconds()


async def test_an_abandoned_load_leaves_nothing(hot: HotCopies, client: Redis, session: Session, guard: Guard) -> None:
    await hot.guard_load(guard, generation=0)
    assert await client.pttl(guard_key(guard)) <= WITHIN * 1_000
    assert await pass_time(client, guard, WITHIN)
    await publish(hot, session)
    assert await lifetime(client, session) > LEASE.total_seconds()


# Tenants.


async def test_a_tenant_does_not_touch_the_copy_and_the_guard_of_another(
    hot: HotCopies, client: Redis, session: Session, guard: Guard
) -> None:
    await hot.guard_write(guard, expected=3)
    theirs = {key: await client.dump(key) for key in await all_keys(client)}
    mine = Guard(session.session_id, uuid4(), "mine")
    for _ in range(2):
        for reported in (3, 1, DELETED, 0):
            assert await hot.guard_write(mine, expected=ANY_REVISION)
            assert await hot.release(mine, reported) is False
        assert await hot.guard_load(mine, generation=0)
        await hot.release(mine, DELETED)
        assert await hot.evict(session.session_id, mine.tenant_id) is False
        assert await hot.read(session.session_id, mine.tenant_id) is None
        assert {key: await client.dump(key) for key in await all_keys(client)} == theirs
        await flush(client)
        await publish(hot, session)
        theirs = {key: await client.dump(key) for key in await all_keys(client)}
    assert (await hot.read(session.session_id, session.tenant_id)) == (await hot.read(session.session_id))


async def test_who_holds_the_session_now_replaces_the_copy_of_who_held_it(hot: HotCopies, session: Session) -> None:
    await publish(hot, session)
    now = make_session(uuid4(), session_id=session.session_id, revision=1)
    await publish(hot, now)
    copy = await hot.read(session.session_id, now.tenant_id)
    assert copy is not None
    assert copy.session == now
    assert await hot.read(session.session_id, session.tenant_id) is None
