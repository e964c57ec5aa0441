"""Measures two ways to do the same in alternating blocks, whose order is reversed in every other round."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from bench.engines import SPREAD
from bench.servers import stopwatch

_WARM_UP = 8
"""Calls before the first measured one: from the sixth on, PostgreSQL may use a generic plan."""


@dataclass(frozen=True)
class Way:
    """One way to do an operation.

    `inputs` returns the arguments of a block's calls for a number of tenants; it is not measured.
    """

    call: Callable[[Any], Awaitable[Any]]
    inputs: Callable[[int], Sequence[Any]]


@dataclass(frozen=True)
class Operation:
    """An operation of the store and its equivalent on the driver.

    `agree` compares both results for the first input before the measurement; `note` adds a remark after it. A
    `server_goal` is for the CPU time of the servers' processes.
    """

    title: str
    goal: float | None
    store: Way
    driver: Way
    concurrency: int = 64
    clock: Literal["cpu", "wall"] = "cpu"
    agree: Callable[[Any, Any], bool] | None = None
    note: Callable[[int], Awaitable[str]] | None = None
    server_goal: float | None = None


@dataclass(frozen=True)
class Sample:
    """Seconds per call: CPU time of this process, CPU time of the servers' processes, wall clock."""

    client: float
    server: float
    wall: float


@dataclass(frozen=True)
class Measurement:
    """All rounds of an operation for one number of tenants."""

    name: str
    title: str
    tenants: int
    concurrency: int
    goal: float | None
    clock: Literal["cpu", "wall"]
    store: list[Sample]
    driver: list[Sample]
    note: str
    server_goal: float | None

    @property
    def ratio(self) -> float:
        """The store's time to the driver's."""
        return ratio(self.deciding(self.store), self.deciding(self.driver))

    @property
    def server_ratio(self) -> float:
        """The same of the servers' CPU time."""
        return ratio(*([sample.server for sample in side] for side in (self.store, self.driver)))

    @property
    def met(self) -> bool | None:
        goals = ((self.ratio, self.goal), (self.server_ratio, self.server_goal))
        reached = [ratio <= goal for ratio, goal in goals if goal is not None]
        return all(reached) if reached else None

    def deciding(self, side: list[Sample]) -> list[float]:
        """Return a side's figures by the clock of the goal."""
        return [sample.client if self.clock == "cpu" else sample.wall for sample in side]


def ratio(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the median of the ratios of pairs: adjacent blocks share the load of the machine."""
    return median(a / b for a, b in zip(one, other, strict=True))


class Disagreement(Exception):
    """The two ways return different results, so that their speed cannot be compared."""


async def measure(name: str, operation: Operation, rounds: int, servers: tuple[int, ...]) -> list[Measurement]:
    """Measure an operation for one tenant and for calls spread over many, with the CPU time of these servers."""
    measured = []
    for tenants in SPREAD:
        ways = (operation.store, operation.driver)
        await _compare(name, operation, tenants)
        for way in ways:
            for _ in range(0, _WARM_UP, len(way.inputs(tenants))):
                await block(way.call, way.inputs(tenants), operation.concurrency, servers)
        samples: dict[Way, list[Sample]] = {way: [] for way in ways}
        for number in range(rounds):
            for way in ways if number % 2 == 0 else reversed(ways):
                inputs = way.inputs(tenants)
                samples[way].append(await block(way.call, inputs, operation.concurrency, servers))
        note = await operation.note(tenants) if operation.note else ""
        store, driver = samples.values()
        goal, server_goal = operation.goal, operation.server_goal
        measured.append(
            Measurement(
                name,
                operation.title,
                tenants,
                operation.concurrency,
                goal,
                operation.clock,
                store,
                driver,
                note,
                server_goal,
            )
        )
    return measured


async def _compare(name: str, operation: Operation, tenants: int) -> None:
    store = await operation.store.call(operation.store.inputs(tenants)[0])
    driver = await operation.driver.call(operation.driver.inputs(tenants)[0])
    if operation.agree is not None and not operation.agree(store, driver):
        raise Disagreement(f"{name}: store and driver returned different results")


async def block(
    call: Callable[[Any], Awaitable[Any]], inputs: Sequence[Any], concurrency: int, servers: tuple[int, ...]
) -> Sample:
    """Measure calls, so many at a time: worker n takes every nth input in order. The heap is collected before."""
    gc.collect()
    server, wall, client = stopwatch(*servers), time.perf_counter(), time.process_time()
    await work(call, inputs, concurrency)
    client, wall = time.process_time() - client, time.perf_counter() - wall
    return Sample(client / len(inputs), server() / len(inputs), wall / len(inputs))


async def work(call: Callable[[Any], Awaitable[Any]], inputs: Sequence[Any], concurrency: int) -> None:
    """Make calls, so many at a time."""

    async def one_after_the_other(share: Sequence[Any]) -> None:
        for item in share:
            await call(item)

    if concurrency == 1:
        await one_after_the_other(inputs)
        return
    async with asyncio.TaskGroup() as workers:
        for first in range(concurrency):
            workers.create_task(one_after_the_other(inputs[first::concurrency]))
