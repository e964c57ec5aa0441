"""Stores whose every call meets a fault, is checked, and is made again without it."""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from convostore.call.effects import Effect, effect_of
from convostore.call.store import Store
from convostore.contracts.unit_of_work import Unit
from convostore.errors import ConflictError, ConnectionError, StoreError, ValidationError
from convostore.models.base import Model
from convostore.postgres import PostgresSessionStore, PostgresTurnStore
from convostore.redis import RedisSessionStore
from convostore.tiered import TieredSessionStore
from tests.faults.expected import ALWAYS, EXPECTED, Kind, check
from tests.faults.fault import Fault
from tests.faults.world import PATIENCE, World
from tests.processes import until

ANSWER_ALONE = {
    (PostgresSessionStore, "promote_to_hot"),  # One tier has nowhere to move a session.
    (PostgresSessionStore, "demote_to_persistent"),
    (TieredSessionStore, "get"),  # From a hot copy.
    (TieredSessionStore, "promote_to_hot"),  # If there is a hot copy already.
    (TieredSessionStore, "demote_to_persistent"),  # Drops the hot copy.
    (PostgresTurnStore, "unit_of_work"),  # With nothing in it.
}
"""The methods that may ask no PostgreSQL."""

TABLELESS = {"health_check", "drop_bodies"}
"""The methods that read no table; what can be dropped is asked of the catalogue."""

_BEAT = 0.01


class Disturbed:
    """A store as `tests.round_trips.calls` calls it: each call meets a fault first, and then is made again.

    Attributes:
        store: the store itself, for calls that only prepare others.
        counts: how often calls ended how, by outcome.
    """

    def __init__(self, store: Store, world: World, fault: Fault, counts: Counter[str]) -> None:
        self.store = store
        self._world = world
        self._fault = fault
        self.counts = counts

    def when(self, _: str) -> Disturbed:
        return self

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.store, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if inspect.isasyncgenfunction(method) or name.startswith("iter_") or name == "export":
                return self._iterated(name, args, kwargs)
            if name in ("lock", "unit_of_work"):
                return self._entered(name, args, kwargs)
            return self._checked(name, args, kwargs)

        return call

    async def _iterated(self, name: str, args: Any, kwargs: Any) -> AsyncIterator[Any]:
        for item in await self._checked(name, args, kwargs):
            yield item

    @asynccontextmanager
    async def _entered(self, name: str, args: Any, kwargs: Any) -> AsyncIterator[Any]:
        yield await self._checked(name, args, kwargs)

    async def _checked(self, name: str, args: Any, kwargs: Any) -> Any:
        world, fault = self._world, self._fault
        what = f"{self.store.kind}.{name} under {fault.side}: {fault.name}"
        tasks = asyncio.all_tasks()
        # With a connection that was checked: the first exchange under a fault is the call's own.
        await self.store.health_check()
        await self._settled(tasks, f"before {what}")
        before = await world.state()
        # What a failed call was given must be as it was: the caller makes the same call again.
        given, given_by_name = copy.deepcopy((args, kwargs))
        hurried = self.store.within(fault.seconds)
        async with fault.injected(world), _Beat() as beat:
            started = asyncio.get_running_loop().time()
            try:
                result = await made(hurried, name, args, kwargs)
                error = None
            except StoreError as failure:
                result, error = None, failure
            elapsed = asyncio.get_running_loop().time() - started
        assert elapsed - beat.late <= fault.seconds * 1.25, f"{what}: {elapsed:.2f} s"
        await self._settled(tasks, what)
        effect, changed = self._effect(name, kwargs), await world.state() != before
        self.counts[_ended(effect, error, changed=changed)] += 1
        unmet = self._does_without or (fault.of_tables and name in TABLELESS)
        row = ALWAYS if unmet else EXPECTED[fault.kind, effect]
        if name == "health_check":
            certain = {"never": False, "always": True}.get(row.succeeds)
            assert result is certain or certain is None or fault.kind is Kind.CUT_ONCE, what  # It asks once.
            return await made(self.store, name, args, kwargs)
        if error is not None and not isinstance(error, ConnectionError) and type(error) is not StoreError:
            raise error  # An answer: what the caller has asked for is not possible.
        with _about(what):
            check(row, error, changed=changed, answers_alone=(type(self.store), name) in ANSWER_ALONE)
        if error is None:
            return result
        assert (given, given_by_name) == (args, kwargs), f"{what}: changed what it was given"
        return await self._again(name, args, kwargs, applied=changed, effect=effect, what=what)

    @property
    def _does_without(self) -> bool:
        """Whether the store does without the server that the fault is of."""
        sessions = getattr(self.store, "sessions", self.store)
        return isinstance(sessions, TieredSessionStore) and self._fault.side == "redis"

    def _effect(self, name: str, kwargs: Any) -> Effect:
        if kwargs.get("overwrite"):
            return Effect.NON_IDEMPOTENT
        if name == "lock":
            return Effect.IDEMPOTENT
        contract = next(vars(base)[name] for base in reversed(type(self.store).__mro__) if name in vars(base))
        return effect_of(contract)

    async def _again(self, name: str, args: Any, kwargs: Any, *, applied: bool, effect: Effect, what: str) -> Any:
        """Make a call that failed again, as its caller would, and return its result."""
        try:
            return await made(self.store, name, args, kwargs)
        except ConflictError as conflict:
            if not applied or conflict.current_revision is None:
                raise
            # The caller reads what is stored and saves again.
            for model in models(args):
                model.__dict__["revision"] = conflict.current_revision
            return await made(self.store, name, args, kwargs)
        except ValidationError:
            assert applied, what
            assert effect is Effect.NON_IDEMPOTENT, what
            return None

    async def _settled(self, tasks: set[asyncio.Task[Any]], what: str) -> None:
        """Wait for the background work of a call; then no task and no connection of it is left."""
        world = self._world
        if isinstance(self.store, RedisSessionStore):
            await self.store.aclose()  # Waits for promotions.
        if isinstance(self.store, TieredSessionStore):
            await self.store._promotions.background.drain()
        await world.settled()

        def left() -> set[asyncio.Task[Any]]:
            return asyncio.all_tasks() - tasks - world.tasks

        await until(lambda: not left() and not world.in_use(), f"{what}: no task and no connection is left", PATIENCE)


class _Beat:
    """Measures by how much the event loop is late: that is the machine's doing.

    Attributes:
        late: in seconds.
    """

    def __init__(self) -> None:
        self.late = 0.0

    async def __aenter__(self) -> _Beat:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            await asyncio.sleep(_BEAT)
            self.late += max(0.0, loop.time() - started - _BEAT)


async def made(store: Any, name: str, args: Any, kwargs: Any) -> Any:
    """Make a call: a stream to its end, a block with nothing in it."""
    result = getattr(store, name)(*args, **kwargs)
    if inspect.isawaitable(result):
        return await result
    if hasattr(result, "__aiter__"):
        return [item async for item in result]
    async with result as token:
        return token


def models(args: Any) -> list[Model]:
    units = [write.item for each in args if isinstance(each, Unit) for write in each.writes]
    found = [item for each in args for item in (each if isinstance(each, list) else [each])]
    return [item for item in (*found, *units) if isinstance(item, Model) and "revision" in type(item).model_fields]


def _ended(effect: Effect, error: StoreError | None, *, changed: bool) -> str:
    """Return how a call ended, as `scripts/trust.py` reads it; an error of the domain is an answer."""
    if not isinstance(error, ConnectionError):
        return f"{effect.value}: answered"
    return f"{effect.value}: {error.outcome} {error.code}{', applied' if changed else ''}"


@contextmanager
def _about(what: str) -> Iterator[None]:
    """Say what a failed check is about."""
    try:
        yield
    except AssertionError as failed:
        raise AssertionError(f"{what}: {failed}") from None


Section = Callable[..., Awaitable[None]]
