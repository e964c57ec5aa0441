"""Work that goes on after a call has returned: bounded, outside the call's context, and waited for at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

_AT_ONCE = 64


class Background:
    """Tasks whose failures nobody waits for: what they do is an improvement, or is done again later."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Start a piece of work; drop it if too much is going on already."""
        if len(self._tasks) >= _AT_ONCE:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    async def drain(self) -> None:
        """Wait until nothing is going on."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()
