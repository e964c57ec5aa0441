"""Background tasks: bounded in number, outside the context of the call that starts them, awaited on close."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")

_AT_ONCE = 64


class Background:
    """Tasks whose failures are ignored, because they are an optimisation or are repeated later."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T] | None:
        """Start a task and return it, or drop it and return None if too many are running."""
        if len(self._tasks) >= _AT_ONCE:
            work.close()
            return None
        task = asyncio.get_running_loop().create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    async def stop(self) -> None:
        """Cancel the tasks that are running."""
        for task in self._tasks:
            task.cancel()
        await self.drain()

    async def drain(self) -> None:
        """Wait until no task is running."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()
