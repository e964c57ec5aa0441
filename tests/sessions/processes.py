"""What tests of the tiered store use as one process: a store, its system of record, its clock and its proxy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias
from uuid import UUID, uuid4

from redis.asyncio import Redis

from convostore.models import Session
from convostore.postgres import PostgresSessionStore
from convostore.testing.factories import full_session
from convostore.tiered import TieredSessionStore
from tests.cluster.nodes import Node
from tests.sessions.guards import copy_key
from tests.sessions.proxying import Proxy

LEASE = timedelta(seconds=2)


class Clock:
    """A monotonic clock that tests advance."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def nothing() -> None:
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
