"""Single-flight per key: concurrent calls for the same thing share one execution."""

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
    """Single-flight per key: one running execution and at most one queued.

    A caller that arrives while an execution runs joins the queued one, because the running one may have read state
    older than the call.

    Args:
        timeout: how long an execution may take, in seconds; a caller may stop waiting earlier.
        patience: how long, in seconds, a running execution holds up the queued one.
    """

    def __init__(self, timeout: float, *, patience: float = 0.5) -> None:
        self._timeout = timeout
        self._patience = patience
        self._running: dict[K, asyncio.Task[T]] = {}
        self._queued: dict[K, asyncio.Task[T]] = {}

    async def run(self, key: K, work: Callable[[], Awaitable[T]]) -> T:
        """Return the result of the key's queued execution; queue this work if there is none."""
        task = self._queued.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._execute(key, work, after=self._running.get(key)))
            self._queued[key] = task
            task.add_done_callback(partial(self._ended, key))
        try:
            return await asyncio.shield(task)
        except StoreError as error:
            # The boundary of each call writes its own operation and outcome into its error.
            raise copy.copy(error) from error

    async def _execute(self, key: K, work: Callable[[], Awaitable[T]], *, after: asyncio.Task[T] | None) -> T:
        if after is not None:
            await asyncio.wait({after}, timeout=self._patience)
        self._running[key] = self._queued.pop(key)
        async with asyncio.timeout(self._timeout):
            return await work()

    def _ended(self, key: K, task: asyncio.Task[T]) -> None:
        for tasks in (self._running, self._queued):
            if tasks.get(key) is task:
                del tasks[key]
        if not task.cancelled():
            # Retrieves an exception that no caller waits for any more, or asyncio would log it.
            task.exception()
