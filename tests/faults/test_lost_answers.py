"""Lost answers: the call has run, and whoever made it, or its retry, does not hear of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.call.call import Call, Proceed
from convostore.call.effects import Effect
from convostore.call.store import Store
from convostore.errors import ConflictError, ConnectionError
from convostore.inmemory import (
    InMemoryAuditStore,
    InMemoryConfigStore,
    InMemoryMemoryStore,
    InMemoryProfileStore,
    InMemorySessionStore,
)
from convostore.testing.factories import make_session
from convostore.testing.faults import LostAnswers, around_attempts
from tests.round_trips import calls


async def test_an_application_meets_an_unknown_outcome_of_what_was_applied() -> None:
    store, session = InMemorySessionStore(), make_session(uuid4())
    losing = store.with_interceptors(LostAnswers("save", "get", times=2))
    with pytest.raises(ConnectionError) as lost:
        await losing.save(session)
    assert (lost.value.outcome, lost.value.retryable, lost.value.code) == ("unknown", True, "timeout")
    # The caller learns nothing, not even the new revision.
    assert session.revision == 0
    with pytest.raises(ConnectionError) as unread:
        await losing.get(session.session_id)
    assert unread.value.outcome == "not_applied"
    with pytest.raises(ConflictError):
        await losing.save(session)
    assert (await losing.get(session.session_id)) is not None


async def test_a_retry_of_what_is_idempotent_recognises_what_was_applied() -> None:
    answers = LostAnswers(times=2)
    store, session = around_attempts(InMemorySessionStore(), answers), make_session(uuid4())
    await store.save(session)
    assert (session.revision, answers.lost) == (1, 2)
    assert await store.get(session.session_id) == session


async def test_what_is_not_idempotent_is_not_repeated() -> None:
    answers = LostAnswers("save", times=1)
    store, session = around_attempts(InMemorySessionStore(), answers), make_session(uuid4())
    with pytest.raises(ConnectionError) as lost:
        await store.save(session, overwrite=True)
    assert (lost.value.outcome, answers.lost) == ("unknown", 1)
    found = await store.get(session.session_id)
    assert found is not None
    assert found.revision == 1


async def test_what_a_call_inside_another_may_have_applied_is_unknown_to_both() -> None:
    inner, session = InMemorySessionStore(), make_session(uuid4())
    await inner.save(session)
    losing = inner.with_interceptors(LostAnswers())

    class Delegating(InMemorySessionStore):
        connected = True

        async def acquire_lock(
            self, session_id: UUID, owner: UUID, *, ttl: float = 30.0, tenant_id: UUID | None = None
        ) -> int | None:
            return await losing.acquire_lock(session_id, owner, ttl=ttl, tenant_id=tenant_id)

    with pytest.raises(ConnectionError) as lost:
        await Delegating().acquire_lock(session.session_id, uuid4())
    assert lost.value.outcome == "unknown"


class FirstAttempts:
    """Interceptor of attempts that loses the answer to the first attempt of every idempotent call."""

    def __init__(self) -> None:
        self.calls: set[UUID] = set()

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        first = call.effect is not Effect.NON_IDEMPOTENT and call.write_id not in self.calls
        self.calls.add(call.write_id)
        return await (LostAnswers()(call, proceed) if first else proceed(call))


class Uncounted:
    """A store as `tests.round_trips.calls` calls it, in no particular case."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def when(self, _: str) -> Uncounted:
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


IN_MEMORY: list[tuple[Callable[..., Awaitable[None]], Sequence[type[Store]]]] = [
    (calls.sessions, [InMemorySessionStore]),
    (calls.config, [InMemoryConfigStore]),
    (calls.memory, [InMemoryMemoryStore]),
    (calls.audit, [InMemoryAuditStore, InMemoryAuditStore]),
    (calls.profiles, [InMemoryProfileStore]),
]


@pytest.mark.parametrize(("call", "stores"), IN_MEMORY, ids=["session", "config", "memory", "audit", "profile"])
async def test_the_reference_recognises_every_idempotent_write_of_its_own(
    call: Callable[..., Awaitable[None]], stores: Sequence[type[Store]]
) -> None:
    answers = FirstAttempts()
    await call(*(Uncounted(around_attempts(store(), answers)) for store in stores))
    assert len(answers.calls) > 20
