"""What tests of the tiered store use as one process: a store, its system of record, its clock and its proxy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar
from uuid import UUID, uuid4

from redis.asyncio import Redis

from convostore.call.call import current_call, running
from convostore.models import Session
from convostore.postgres import PostgresSessionStore
from convostore.testing.factories import full_session
from convostore.testing.faults import Proxy
from convostore.tiered import TieredSessionStore
from tests.cluster.nodes import Node
from tests.sessions.guards import copy_key

T = TypeVar("T")

LEASE = timedelta(seconds=2)


class Clock:
    """A monotonic clock that tests advance."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def nothing(*_: object) -> None:
    """Nothing happens."""


class Record(PostgresSessionStore):
    """PostgreSQL, with its loads counted, and hooks right before and after a write."""

    loads = most_at_once = loading = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.before: Callable[[], Awaitable[object]] = nothing
        self.after: Callable[[], Awaitable[object]] = nothing

    async def load(self, session_id: UUID, tenant_id: UUID | None = None) -> tuple[Session, int] | None:
        self.loads += 1
        self.loading += 1
        self.most_at_once = max(self.most_at_once, self.loading)
        try:
            return await super().load(session_id, tenant_id)
        finally:
            self.loading -= 1

    async def write(self, session: Session, *, overwrite: bool, fence: int | None, invalidate_copies: bool) -> None:
        await self.before()
        try:
            await super().write(session, overwrite=overwrite, fence=fence, invalidate_copies=invalidate_copies)
        finally:
            await self.after()


class LateRecord(PostgresSessionStore):
    """PostgreSQL that applies writes late, also when their callers have given them up, and answers late.

    So does a server that is frozen between its last look at the deadline and its commit, or a process after it.

    Attributes:
        late: what a write waits for before it is applied, given its deadline.
        answering: what the answer to a load or a write waits for.
        applying: the writes that were begun.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.late: Callable[[float], Awaitable[object]] = nothing
        self.answering: Callable[[], Awaitable[object]] = nothing
        self.applying: list[asyncio.Task[Any]] = []

    async def load(self, session_id: UUID, tenant_id: UUID | None = None) -> tuple[Session, int] | None:
        found = await super().load(session_id, tenant_id)
        await self.answering()
        return found

    async def write(self, session: Session, *, overwrite: bool, fence: int | None, invalidate_copies: bool) -> None:
        given: dict[str, Any] = {"overwrite": overwrite, "fence": fence, "invalidate_copies": invalidate_copies}
        await self._apply(super().write(session, **given))

    async def remove(self, session_id: UUID, tenant_id: UUID | None, *, invalidate_copies: bool) -> bool:
        return await self._apply(super().remove(session_id, tenant_id, invalidate_copies=invalidate_copies))

    async def _apply(self, write: Coroutine[Any, Any, T]) -> T:
        call = current_call()

        async def apply() -> T:
            running.set(replace(call, deadline=call.deadline + 60.0))
            await self.late(call.deadline)
            try:
                return await write
            finally:
                await self.answering()

        task = asyncio.create_task(apply())
        self.applying.append(task)
        call.sent = True
        return await asyncio.shield(task)


@dataclass
class Process:
    """A store, its system of record, its clock and its proxy to the hot tier."""

    store: TieredSessionStore
    record: Record
    clock: Clock
    proxy: Proxy

    @property
    def skipped(self) -> int:
        """How many calls of the hot tier were not tried."""
        return self.store._hot.breaker.skipped

    async def settled(self) -> None:
        """Wait until no promotion goes on."""
        await self.store._promotions.background.drain()

    async def saved(self, times: int = 1) -> Session:
        """Return a session of which a copy is in the hot tier."""
        session = full_session(uuid4())
        for _ in range(times):
            await self.store.save(session)
        assert await self.store.promote_to_hot(session.session_id) is False
        return session

    async def answers_from_a_copy(self, session: Session) -> bool:
        """Get a session; return whether a copy answered."""
        await self.settled()
        loads = self.record.loads
        assert await self.store.get(session.session_id) == session
        return self.record.loads == loads


Start: TypeAlias = Callable[..., Awaitable[Process]]


async def value_of(node: Node, session_id: UUID) -> bytes | None:
    """Return the value of a session's copy in the hot tier."""
    async with Redis(host="127.0.0.1", port=node.port) as client:
        value: Any = await client.get(copy_key(session_id))
        return None if value is None else bytes(value)
