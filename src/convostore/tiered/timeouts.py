"""The timeout of a call of the hot tier: it blames a silent server, and not an event loop that was late."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

_TICKS = 10


class Timeout:
    """As `asyncio.timeout`, and once it was told to, shorter, by time in which the event loop was on time.

    A process that gets no CPU finds its timers overdue together with the answers that it waits for; `asyncio.timeout`
    would give those up. This one counts ticks of its own, and a tick that comes late counts as one.

    Args:
        at_most: the timeout, in seconds, however late the loop is.
    """

    def __init__(self, at_most: float) -> None:
        self._at_most = at_most
        self._ticking: asyncio.TimerHandle | None = None

    def expect_answer_within(self, seconds: float) -> None:
        """Count from now on: expire after so many seconds if the loop is on time."""
        self._loop, self._tick, self._left = asyncio.get_running_loop(), seconds / _TICKS, _TICKS
        self._ticking = self._loop.call_later(self._tick, self._count)

    async def __aenter__(self) -> Self:
        self._timeout = asyncio.timeout(self._at_most)
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
        await self._timeout.__aexit__(kind, error, traceback)

    def _count(self) -> None:
        self._left -= 1
        if self._left > 0:
            self._ticking = self._loop.call_later(self._tick, self._count)
        elif not self._timeout.expired():
            self._timeout.reschedule(self._loop.time())
