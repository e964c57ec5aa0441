"""Work that several callers wait for together, if it has not begun when they come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Shared(Generic[K, T]):
    """One piece of work per key for all who ask in the same turn of the event loop.

    Who comes when the work has begun starts the next: the answer may be older than the question.

    Args:
        timeout: how long a piece of work may take, in seconds; who waits for it may give up before.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._waiting: dict[K, asyncio.Task[T]] = {}

    async def run(self, key: K, work: Callable[[], Awaitable[T]]) -> T:
        """Return the answer of the work that is about to begin, or begin it."""
        task = self._waiting.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._begin(key, work))
            task.add_done_callback(_heard)
            self._waiting[key] = task
        return await asyncio.shield(task)

    async def _begin(self, key: K, work: Callable[[], Awaitable[T]]) -> T:
        del self._waiting[key]
        async with asyncio.timeout(self._timeout):
            return await work()


def _heard(task: asyncio.Task[T]) -> None:
    """Take note of a failure that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
