"""Workers that keep saving sessions while the servers change places, and what must be true of what they did."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from convostore.contracts import SessionStore
from convostore.errors import ConflictError, ConnectionError
from convostore.models import Session
from convostore.testing.factories import make_session


@dataclass
class Work:
    """What workers saved: the last session of each that was acknowledged, and how many calls failed."""

    store: SessionStore
    tenant: UUID = field(default_factory=uuid4)
    agents: list[UUID] = field(default_factory=lambda: [uuid4() for _ in range(3)])
    acknowledged: dict[UUID, Session] = field(default_factory=dict)
    saves: int = 0
    failures: list[ConnectionError] = field(default_factory=list)
    progress: asyncio.Event = field(default_factory=asyncio.Event)

    async def go_on(self) -> None:
        """Save one session again and again, reading it before each time."""
        session_id = uuid4()
        while True:
            try:
                session = await self.store.get(session_id) or make_session(self.tenant, session_id=session_id)
                session.turn_count += 1
                session.agent_id = random.choice(self.agents)
                await self.store.save(session)
            except ConflictError:
                continue
            except ConnectionError as failure:
                self.failures.append(failure)
                continue
            self.saves += 1
            self.acknowledged[session_id] = session
            self.progress.set()

    async def more(self, saves: int) -> None:
        """Wait until so many more saves were acknowledged."""
        wanted = self.saves + saves
        async with asyncio.timeout(30):
            while self.saves < wanted:
                self.progress.clear()
                await self.progress.wait()

    async def lost(self) -> list[UUID]:
        """Return the sessions that are older than what was acknowledged, or not there."""
        found = {session_id: await self.store.get(session_id) for session_id in self.acknowledged}
        return [
            session_id
            for session_id, last in self.acknowledged.items()
            if (now := found[session_id]) is None or now.revision < last.revision
        ]


@asynccontextmanager
async def working(store: SessionStore, workers: int = 12) -> AsyncIterator[Work]:
    """Let workers go on during the block."""
    work = Work(store)
    tasks = [asyncio.create_task(work.go_on()) for _ in range(workers)]
    try:
        await work.more(workers * 3)
        yield work
        await work.more(workers * 3)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(how, asyncio.CancelledError) for how in ended), ended
