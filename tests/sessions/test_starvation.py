"""A process that gets no CPU: its own lateness is no failure of the hot tier, and PostgreSQL does not pay for it."""

from __future__ import annotations

import asyncio
import time

from convostore.models import Session
from tests.sessions.processes import Process, Start

READERS = 32
GETS = 8


async def read(process: Process, session: Session) -> None:
    for _ in range(GETS):
        assert await process.store.get(session.session_id) == session


async def starve(seconds: float, turns: int) -> None:
    """Block the event loop again and again, each time for longer than the hot tier may take."""
    for _ in range(turns):
        time.sleep(seconds)  # noqa: ASYNC251  (other coroutines must not run)
        for _ in range(turns):
            await asyncio.sleep(0)


async def test_a_starved_process_reads_copies_and_goes_on_to_when_it_has_recovered(start: Start) -> None:
    process = await start(hot_timeout=0.1, timeout=60.0, monotonic=time.monotonic)
    sessions = [await process.saved() for _ in range(4)]
    process.record.loads = 0
    readers = [asyncio.create_task(read(process, sessions[number % 4])) for number in range(READERS)]
    starving = asyncio.create_task(starve(0.2, 5))
    await asyncio.gather(*readers)
    starving.cancel()
    assert process.record.loads <= READERS * GETS / 10
    assert process.store._hot.breaker.is_closed
    await process.settled()
    process.record.loads = 0
    await asyncio.gather(*(read(process, session) for session in sessions))
    assert process.record.loads == 0
