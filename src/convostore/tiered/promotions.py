"""Promotions: copies of sessions that were read from the system of record, published under a guard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeAlias
from uuid import UUID, uuid4

from convostore.call.call import Call, current_call, running
from convostore.models import Session
from convostore.redis.background import Background
from convostore.tiered import copies
from convostore.tiered.copies import DELETED, HotCopies
from convostore.tiered.values import Guard

Load: TypeAlias = "Callable[[UUID, UUID], Awaitable[tuple[Session, int] | None]]"
"""Reads a session of a tenant, and the tenant's generation, from the system of record."""


class Promotions:
    """Publishes copies: at most one promotion per session at a time, and a bounded number in the background.

    Args:
        hot: the hot tier.
        load: reads the system of record.
    """

    def __init__(self, hot: HotCopies, load: Load) -> None:
        self.background = Background()
        self._hot = hot
        self._load = load
        self._promoting: dict[tuple[UUID, UUID], asyncio.Task[bool]] = {}

    def start(self, session: Session, generation: int) -> None:
        """Start to promote a session in the background, unless that is going on or the hot tier fails at the moment.

        Args:
            session: as it was read.
            generation: of the tenant, as it was read.
        """
        key = session.tenant_id, session.session_id
        if key in self._promoting or self._hot.breaker.failures_in_a_row:
            return
        task = self.background.start(self._run(*key, generation, current_call()))
        if task is not None:
            self._promoting[key] = task
            task.add_done_callback(lambda _: self._promoting.pop(key))

    async def promote(self, session: Session, generation: int) -> bool:
        """Promote a session; return whether its copy is published. If a promotion is going on, wait for that."""
        key = session.tenant_id, session.session_id
        promoting = self._promoting.get(key)
        if promoting is not None:
            await asyncio.wait({promoting})
            if not promoting.cancelled() and promoting.exception() is None:
                return promoting.result()
        return await self._promote(*key, generation)

    async def _run(self, tenant_id: UUID, session_id: UUID, generation: int, cause: Call) -> bool:
        until = asyncio.get_running_loop().time() + copies.PUBLISH_WITHIN.total_seconds()
        # PostgreSQL's limits follow the deadline of a call: one that changes with every other call costs a trip.
        running.set(replace(cause, deadline=max(cause.deadline, until)))
        async with asyncio.timeout_at(until):
            return await self._promote(tenant_id, session_id, generation)

    async def _promote(self, tenant_id: UUID, session_id: UUID, generation: int) -> bool:
        """Publish a copy of what is loaded under a guard: what was read before may be outdated."""
        guard = Guard(session_id, tenant_id, uuid4().hex)
        if not await self._hot.guard_load(guard, generation=generation):
            return False
        try:
            found = await self._load(session_id, tenant_id)
        except BaseException:
            self.background.start(self._hot.release(guard, 0))
            raise
        if found is None:
            await self._hot.release(guard, DELETED)
            return False
        session, generation = found
        return bool(await self._hot.release(guard, session.revision, session, generation))
