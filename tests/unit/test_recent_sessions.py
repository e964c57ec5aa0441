"""`get(max_staleness=)`: what is answered without asking, and that no answer goes back behind an earlier one."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from convostore.call.call import Call, Proceed
from convostore.domain import recent
from convostore.domain.recent import RecentSessions
from convostore.errors import ConnectionError
from convostore.inmemory import InMemorySessionStore
from convostore.models import Session
from convostore.testing.factories import make_session

HOUR = 3_600.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


class Attempts:
    """Counts the calls that reach the backend, and delays the answers of the next ones on request.

    Attributes:
        count: how many calls reached it.
        lost: whether an answer is lost.
    """

    def __init__(self) -> None:
        self.count = 0
        self.lost = False
        self._held: list[asyncio.Event] = []

    def hold(self) -> asyncio.Event:
        """Delay the answer of the next call until an event is set."""
        self._held.append(asyncio.Event())
        return self._held[-1]

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        self.count += 1
        held = self._held.pop(0) if self._held else None
        result = await proceed(call)
        if held is not None:
            await held.wait()
        if self.lost:
            raise ConnectionError("lost", outcome="unknown")
        return result


@pytest.fixture
def attempts() -> Attempts:
    return Attempts()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(attempts: Attempts, clock: Clock) -> InMemorySessionStore:
    """A store that keeps what it reads and writes."""
    made = InMemorySessionStore()._with_interceptors_of_attempts(attempts)
    made._recent.clock = clock
    await made.get(uuid4(), max_staleness=HOUR)
    attempts.count = 0
    return made


@pytest.fixture
def other(store: InMemorySessionStore) -> InMemorySessionStore:
    """A store of another process on the same data."""
    made = store._twin()
    made._interceptors_of_attempts = ()
    made._recent = RecentSessions()
    made._interceptors_of_answers = (made._recent,)
    return made


async def saved(store: InMemorySessionStore, **values: Any) -> Session:
    session = make_session(uuid4(), **values)
    await store.save(session)
    return session


async def revision(store: InMemorySessionStore, session: Session, max_staleness: float = HOUR) -> int | None:
    found = await store.get(session.session_id, max_staleness=max_staleness)
    return found.revision if found else None


async def test_what_was_written_or_read_is_answered_without_asking(
    store: InMemorySessionStore, other: InMemorySessionStore, attempts: Attempts
) -> None:
    written, read = await saved(store), await saved(other)
    await store.get(read.session_id)
    attempts.count = 0
    assert await store.get(written.session_id, max_staleness=HOUR) == written
    assert await store.get(read.session_id, max_staleness=HOUR) == read
    assert attempts.count == 0
    await store.get(read.session_id)
    assert attempts.count == 1


async def test_an_answer_is_no_older_than_asked_for(
    store: InMemorySessionStore, other: InMemorySessionStore, attempts: Attempts, clock: Clock
) -> None:
    session = await saved(store)
    await other.save(session.model_copy())
    clock.now += 10
    assert await revision(store, session, 11) == 1
    assert await revision(store, session, 9) == 2
    attempts.count = 0
    assert await revision(store, session, 1) == 2
    assert attempts.count == 0


async def test_the_age_counts_from_the_beginning_of_the_read(
    store: InMemorySessionStore, other: InMemorySessionStore, attempts: Attempts, clock: Clock
) -> None:
    session = await saved(other)
    answer = attempts.hold()
    reading = asyncio.create_task(store.get(session.session_id))
    await asyncio.sleep(0)
    clock.now += 10
    answer.set()
    await reading
    attempts.count = 0
    await store.get(session.session_id, max_staleness=9)
    assert attempts.count == 1


async def test_nothing_is_kept_before_a_call_accepts_staleness(attempts: Attempts) -> None:
    store = InMemorySessionStore()._with_interceptors_of_attempts(attempts)
    session = await saved(store)
    attempts.count = 0
    for count in (1, 1):
        assert await store.get(session.session_id, max_staleness=HOUR) == session
        assert attempts.count == count


async def test_a_read_that_is_overtaken_by_a_save_is_not_kept(store: InMemorySessionStore, attempts: Attempts) -> None:
    session = await saved(store)
    answer = attempts.hold()
    reading = asyncio.create_task(store.get(session.session_id))
    await asyncio.sleep(0)
    await store.save(session)
    answer.set()
    assert (await reading) is not None
    assert await revision(store, session) == 2


async def test_a_read_that_is_overtaken_by_a_deletion_is_not_kept(
    store: InMemorySessionStore, attempts: Attempts
) -> None:
    session = await saved(store)
    answer = attempts.hold()
    reading = asyncio.create_task(store.get(session.session_id))
    await asyncio.sleep(0)
    await store.delete(session.session_id)
    answer.set()
    assert await reading == session
    assert await revision(store, session) is None


@pytest.mark.parametrize("by", ["get", "list", "channel"])
async def test_no_answer_is_behind_what_a_caller_was_given(
    store: InMemorySessionStore, other: InMemorySessionStore, by: str
) -> None:
    session = await saved(store)
    await other.save(session.model_copy())
    assert await revision(store, session) == 1
    if by == "get":
        await store.get(session.session_id)
    elif by == "list":
        await store.list_by_agent(session.tenant_id, session.agent_id)
    else:
        await store.get_by_channel(session.tenant_id, session.channel, session.user_channel_id)
    assert await revision(store, session) == 2


async def test_after_a_read_has_found_nothing_nothing_is_answered(
    store: InMemorySessionStore, other: InMemorySessionStore
) -> None:
    session = await saved(store)
    await other.delete(session.session_id)
    assert await revision(store, session) == 1
    assert await store.get(session.session_id, tenant_id=uuid4()) is None
    assert await revision(store, session) == 1
    assert await store.get(session.session_id) is None
    assert await revision(store, session) is None


async def test_an_older_read_does_not_replace_a_newer_one(
    store: InMemorySessionStore, other: InMemorySessionStore, attempts: Attempts
) -> None:
    session = await saved(other)
    answer = attempts.hold()
    slow = asyncio.create_task(store.get(session.session_id))
    await asyncio.sleep(0)
    await other.save(session)
    assert await revision(store, session, 0) == 2
    answer.set()
    found = await slow
    assert found is not None
    assert found.revision == 1
    assert await revision(store, session) == 2


async def test_a_session_that_was_deleted_and_created_again_replaces_the_former(
    store: InMemorySessionStore, other: InMemorySessionStore
) -> None:
    session = await saved(store)
    await store.save(session)
    await other.delete(session.session_id)
    await other.save(session.model_copy(update={"revision": 0}))
    assert await revision(store, session, 0) == 1
    assert await revision(store, session) == 1


async def test_a_write_of_unknown_outcome_is_asked_for(store: InMemorySessionStore, attempts: Attempts) -> None:
    session = await saved(store)
    attempts.lost = True
    with pytest.raises(ConnectionError):
        await store.save(session, overwrite=True)
    attempts.lost = False
    assert await revision(store, session) == 2


async def test_what_is_kept_is_bounded_in_bytes_the_least_recent_goes_first(
    store: InMemorySessionStore, attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "_MOST_BYTES", 20_000)
    sessions = [await saved(store, variables={"text": "x" * 3_000}) for _ in range(8)]
    attempts.count = 0
    for session in reversed(sessions):
        assert await store.get(session.session_id, max_staleness=HOUR) == session
        if attempts.count:
            break
    assert sessions.index(session) in (2, 3)
    assert store._recent._bytes <= 20_000


async def test_a_sweep_leaves_nothing_of_what_it_may_have_deleted(
    store: InMemorySessionStore, attempts: Attempts
) -> None:
    session = await saved(store)
    await store.sweep()
    attempts.count = 0
    await store.get(session.session_id, max_staleness=HOUR)
    assert attempts.count == 1
