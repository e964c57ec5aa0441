"""Stores whose every call is cancelled at each of its awaits in turn, before it may end."""

from __future__ import annotations

import asyncio
import types
from collections import Counter
from collections.abc import Coroutine, Generator
from typing import Any

from convostore.call.effects import Effect
from convostore.call.store import Store
from convostore.errors import ConflictError, ValidationError
from tests.faults.disturbed import ANSWER_ALONE, Disturbed, made, models
from tests.faults.fault import Fault
from tests.faults.world import World


@types.coroutine
def cancelled_at(suspension: int, work: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Run a coroutine in a task that is cancelled when it suspends for this time, counted from 0."""
    task = asyncio.current_task()
    assert task is not None
    suspensions, failure, sent = 0, None, None
    while True:
        try:
            waited_for = work.send(sent) if failure is None else work.throw(failure)
        except StopIteration as done:
            return done.value
        if suspensions == suspension:
            task.cancel("at an await")
        suspensions, failure, sent = suspensions + 1, None, None
        try:
            sent = yield waited_for
        except BaseException as raised:
            failure = raised


class Cancelled(Disturbed):
    """A store as `tests.round_trips.calls` calls it: each call is cancelled at its first await, its second, and so on.

    Nothing of it is left each time, and at last it is made to its end.
    """

    def __init__(self, store: Store, world: World, fault: Fault, counts: Counter[str]) -> None:
        super().__init__(store, world, fault, counts)

    async def _checked(self, name: str, args: Any, kwargs: Any) -> Any:
        world, what = self._world, f"{self.store.kind}.{name}, cancelled"
        before = await world.state()
        suspension = -1
        while True:
            suspension += 1
            tasks = asyncio.all_tasks()
            # A coroutine that is awaited in a task of its own, as an application's would be.
            call = asyncio.create_task(self._one(suspension, name, args, kwargs))
            await asyncio.wait([call])
            await self._settled(tasks, f"{what} at await {suspension}")
            if not call.cancelled():
                break
            self.counts["cancelled"] += 1
        self.counts["calls"] += 1
        assert suspension or (type(self.store), name) in ANSWER_ALONE, f"{what}: it awaited nothing"
        try:
            return call.result()
        except ConflictError as conflict:
            if conflict.current_revision is None or await world.state() == before:
                raise
            for model in models(args):
                model.__dict__["revision"] = conflict.current_revision
            return await made(self.store, name, args, kwargs)
        except ValidationError:
            assert self._effect(name, kwargs) is Effect.NON_IDEMPOTENT, what
            assert await world.state() != before, what
            return None

    async def _one(self, suspension: int, name: str, args: Any, kwargs: Any) -> Any:
        return await cancelled_at(suspension, made(self.store, name, args, kwargs))
