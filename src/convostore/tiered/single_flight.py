"""Single-flight per key: concurrent calls for the same thing share one execution."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Generic, TypeVar

from convostore.call.call import current_call, running
from convostore.errors import StoreError

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@dataclass(eq=False)
class _Execution(Generic[T]):
    """An execution, and the deadlines of the calls that wait for it."""

    deadlines: list[float] = field(default_factory=list)
    task: asyncio.Task[T] = field(init=False)


class SingleFlight(Generic[K, T]):
    """Single-flight per key: one running execution and at most one queued.

    A caller that arrives while an execution runs joins the queued one, because the running one may have read state
    older than the call. An execution has the latest deadline of the calls that wait for it when it starts, and is
    cancelled when the last of them has left.

    Args:
        patience: how long, in seconds, a running execution holds up the queued one.
        copied: copies a result, so that each caller has its own; by default all have the same.
    """

    def __init__(self, *, patience: float = 0.5, copied: Callable[[T], T] = lambda result: result) -> None:
        self._patience = patience
        self._copied = copied
        self._running: dict[K, _Execution[T]] = {}
        self._queued: dict[K, _Execution[T]] = {}

    async def run(self, key: K, work: Callable[[], Awaitable[T]]) -> T:
        """Return the result of the key's queued execution; queue this work if there is none."""
        execution, deadline = self._queued.get(key), current_call().deadline
        if execution is None:
            execution = self._queued[key] = _Execution()
            executing = self._execute(key, execution, work, after=self._running.get(key))
            execution.task = asyncio.get_running_loop().create_task(executing)
            execution.task.add_done_callback(partial(self._ended, key, execution))
        execution.deadlines.append(deadline)
        try:
            result = await asyncio.shield(execution.task)
        except StoreError as error:
            # Each call writes its own operation and outcome into its error.
            raise copy.copy(error) from error
        finally:
            execution.deadlines.remove(deadline)
            if not execution.deadlines:
                self._forget(key, execution)
                execution.task.cancel()
        # The last one, often the only one, takes the result itself: all others have their copies by then.
        return self._copied(result) if execution.deadlines else result

    async def _execute(
        self, key: K, execution: _Execution[T], work: Callable[[], Awaitable[T]], *, after: _Execution[T] | None
    ) -> T:
        if after is not None:
            await asyncio.wait({after.task}, timeout=self._patience)
        self._running[key] = self._queued.pop(key)
        running.set(replace(current_call(), deadline=max(execution.deadlines)))
        return await work()

    def _ended(self, key: K, execution: _Execution[T], task: asyncio.Task[T]) -> None:
        self._forget(key, execution)
        if not task.cancelled():
            # Retrieves an exception that no caller waits for any more, or asyncio would log it.
            task.exception()

    def _forget(self, key: K, execution: _Execution[T]) -> None:
        for executions in (self._running, self._queued):
            if executions.get(key) is execution:
                del executions[key]
