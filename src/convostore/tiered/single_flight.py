"""Work that several callers wait for together, if it has not begun when they come."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Generic, TypeVar

from convostore.errors import StoreError

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class SingleFlight(Generic[K, T]):
    """At most two pieces of work per key: one that has begun, and one that begins after it for all who come meanwhile.

    Who comes when the work has begun is not given its answer, which may be older than the question.

    Args:
        timeout: how long a piece of work may take, in seconds; who waits for it may give up before.
        patience: after how many seconds the next begins although the one before has not ended.
    """

    def __init__(self, timeout: float, *, patience: float = 0.5) -> None:
        self._timeout = timeout
        self._patience = patience
        self._begun: dict[K, asyncio.Task[T]] = {}
        self._waiting: dict[K, asyncio.Task[T]] = {}

    async def run(self, key: K, work: Callable[[], Awaitable[T]]) -> T:
        """Return the answer of the work that is about to begin, or of this work."""
        task = self._waiting.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._do(key, work, after=self._begun.get(key)))
            self._waiting[key] = task
            task.add_done_callback(partial(self._ended, key))
        try:
            return await asyncio.shield(task)
        except StoreError as error:
            # Whoever waits goes on to say in the error what was asked; each has one of its own.
            raise copy.copy(error) from error

    async def _do(self, key: K, work: Callable[[], Awaitable[T]], *, after: asyncio.Task[T] | None) -> T:
        if after is not None:
            await asyncio.wait({after}, timeout=self._patience)
        self._begun[key] = self._waiting.pop(key)
        async with asyncio.timeout(self._timeout):
            return await work()

    def _ended(self, key: K, task: asyncio.Task[T]) -> None:
        for tasks in (self._begun, self._waiting):
            if tasks.get(key) is task:
                del tasks[key]
        if not task.cancelled():
            # Take note of a failure that nobody waits for any more.
            task.exception()
