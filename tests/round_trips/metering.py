"""Stores whose calls are measured: round trips and statements to PostgreSQL, round trips and commands to Redis."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar, cast

from convostore.call.store import Store
from convostore.redis import RedisSessionStore
from convostore.tiered import TieredSessionStore
from tests.redis.monitoring import Monitor
from tests.round_trips.counting import Traffic

S = TypeVar("S", bound=Store)


class Cost(NamedTuple):
    """What one call costs the two servers and the network.

    Attributes:
        postgres_round_trips: to PostgreSQL.
        statements: that PostgreSQL runs, BEGIN and COMMIT included.
        redis_round_trips: to Redis.
        commands: that the client sends to Redis; a script is one.
        commands_in_scripts: that scripts run on Redis.
    """

    postgres_round_trips: int
    statements: int
    redis_round_trips: int
    commands: int
    commands_in_scripts: int


class Measured(NamedTuple):
    """A contract method, and in which case it was called; an empty case is the common one."""

    method: str
    case: str


@dataclass
class Meter:
    """Measures calls, one at a time.

    Attributes:
        costs: of each call so far.
    """

    postgres: Traffic
    redis: Traffic
    monitor: Monitor
    costs: dict[Measured, Cost] = field(default_factory=dict)

    @asynccontextmanager
    async def measuring(self, call: Measured, store: Store) -> AsyncIterator[None]:
        """Measure a block, and the background work that it starts."""
        await self._read()
        try:
            yield
        finally:
            if isinstance(store, RedisSessionStore):
                await store.aclose()  # Waits for promotions.
            if isinstance(store, TieredSessionStore):
                await store._promotions.background.drain()
            assert call not in self.costs, f"{call} is measured twice; name the case"
            self.costs[call] = await self._read()

    async def _read(self) -> Cost:
        commands = await self.monitor.seen()
        scripted = sum(command.by_script for command in commands)
        (postgres_round_trips, statements), (redis_round_trips, _) = self.postgres.read(), self.redis.read()
        return Cost(postgres_round_trips, statements, redis_round_trips, len(commands) - scripted, scripted)


def metered(store: S, meter: Meter) -> S:
    """Return a store that behaves as this one and measures each call, streams and blocks as a whole."""
    return cast("S", _Metered(store, meter, ""))


def when(store: S, case: str) -> S:
    """Return a metered store whose next calls are measured as another case of their methods."""
    return cast("S", cast("_Metered", store).when(case))


def unmetered(store: S) -> S:
    """Return the store behind a metered one, for calls that only prepare others."""
    return cast("S", cast("_Metered", store).store)


class _Metered:
    def __init__(self, store: Store, meter: Meter, case: str) -> None:
        self.store = store
        self._meter = meter
        self._case = case

    def when(self, case: str) -> _Metered:
        return _Metered(self.store, self._meter, case)

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            # Nothing is sent before the result is awaited, iterated or entered.
            result = getattr(self.store, name)(*arguments, **named)
            measuring = self._meter.measuring(Measured(name, self._case), self.store)
            if inspect.isawaitable(result):
                return _awaited(measuring, result)
            return _iterated(measuring, result) if hasattr(result, "__aiter__") else _entered(measuring, result)

        return call


async def _awaited(measuring: AbstractAsyncContextManager[None], result: Awaitable[Any]) -> Any:
    async with measuring:
        return await result


async def _iterated(measuring: AbstractAsyncContextManager[None], result: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async with measuring:
        items = [item async for item in result]
    for item in items:
        yield item


@asynccontextmanager
async def _entered(
    measuring: AbstractAsyncContextManager[None], result: AbstractAsyncContextManager[Any]
) -> AsyncIterator[Any]:
    async with measuring, result as value:
        yield value
