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
    """Seconds per call: CPU of this process, wall clock, CPU of the servers."""

    cpu: float
    wall: float
    server: float


@dataclass(frozen=True)
class Measurement:
    """All rounds of an operation for one number of tenants."""

    name: str
    title: str
    tenants: int
    goal: float | None
    clock: Literal["cpu", "wall"]
    store: list[Sample]
    driver: list[Sample]
    note: str
    server_goal: float | None

    @property
    def ratio(self) -> float:
        """The median over rounds of store to driver: adjacent blocks share the load of the machine."""
        return _ratio(self.deciding(self.store), self.deciding(self.driver))

    @property
    def server_ratio(self) -> float:
        """The same of the servers' CPU time."""
        return _ratio(*([sample.server for sample in side] for side in (self.store, self.driver)))

    @property
    def met(self) -> bool | None:
        goals = ((self.ratio, self.goal), (self.server_ratio, self.server_goal))
        reached = [ratio <= goal for ratio, goal in goals if goal is not None]
        return all(reached) if reached else None

    def deciding(self, side: list[Sample]) -> list[float]:
        """Return a side's figures by the clock of the goal."""
        return [sample.cpu if self.clock == "cpu" else sample.wall for sample in side]


def _ratio(store: list[float], driver: list[float]) -> float:
    return median(one / other for one, other in zip(store, driver, strict=True))


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
                await _block(way, tenants, operation.concurrency, servers)
        samples: dict[Way, list[Sample]] = {way: [] for way in ways}
        for number in range(rounds):
            for way in ways if number % 2 == 0 else reversed(ways):
                samples[way].append(await _block(way, tenants, operation.concurrency, servers))
        note = await operation.note(tenants) if operation.note else ""
        store, driver = samples.values()
        goal, server_goal = operation.goal, operation.server_goal
        measured.append(
            Measurement(name, operation.title, tenants, goal, operation.clock, store, driver, note, server_goal)
        )
    return measured


async def _compare(name: str, operation: Operation, tenants: int) -> None:
    store = await operation.store.call(operation.store.inputs(tenants)[0])
    driver = await operation.driver.call(operation.driver.inputs(tenants)[0])
    if operation.agree is not None and not operation.agree(store, driver):
        raise Disagreement(f"{name}: store and driver returned different results")


async def _block(way: Way, tenants: int, concurrency: int, servers: tuple[int, ...]) -> Sample:
    inputs = way.inputs(tenants)
    shares = [inputs[first::concurrency] for first in range(concurrency)]
    gc.collect()
    server = stopwatch(*servers)
    wall, cpu = time.perf_counter(), time.process_time()
    if concurrency == 1:
        await _work(way, inputs)
    else:
        async with asyncio.TaskGroup() as workers:
            for share in shares:
                workers.create_task(_work(way, share))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Sample(cpu / len(inputs), wall / len(inputs), server() / len(inputs))


async def _work(way: Way, inputs: Sequence[Any]) -> None:
    call = way.call
    for item in inputs:
        await call(item)
