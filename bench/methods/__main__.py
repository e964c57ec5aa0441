"""`python -m bench.methods`: every method of the stores, where one statement does the same against that by hand.

By hand is SQL on the same tables as a superuser: no row-level security, revisions only compared, no chains or guards.
Methods that have no such statement are measured alone. `iter_…` is pages of a list; sessions are those of PostgreSQL.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.__main__ import positive
from bench.data import Vectors
from bench.engines import SPREAD, Engines, open_engines
from bench.harness import Disagreement, Sample, block, ratio, work
from bench.methods import audit, config, memory, profiles, sessions
from bench.methods.cases import Case
from bench.methods.slots import COUNT, Slot, made, stored
from bench.turn import stores_on
from convostore import Stores
from convostore.postgres import PostgresSessionStore

CASES = [*sessions.CASES, *config.CASES, *memory.CASES, *audit.CASES, *profiles.CASES]
CONCURRENT = (1, 16, 64, 256)
_CALLS = 64
"""In a block, or as many as are made at a time."""
_WARM_UP = 2
"""Blocks before the first that is measured: from a connection's sixth call on, PostgreSQL may use a generic plan."""


@dataclass(frozen=True)
class Measured:
    """What a method takes with so many tenants and calls at a time, round by round."""

    store: str
    method: str
    tenants: int
    concurrent: int
    stores: list[Sample]
    by_hand: list[Sample]


class Methods:
    """Calls of every method for one number of tenants."""

    def __init__(self, engines: Engines, stores: Stores, slots: Sequence[Slot]) -> None:
        self._engines = engines
        self._stores = stores
        self._slots = slots

    async def measure(self, case: Case, tenants: int, rounds: int, concurrent: Sequence[int]) -> list[Measured]:
        """Measure a method; the first call of both ways is compared."""
        ways = {"stores": self._call(case)} | ({"by_hand": self._by_hand(case)} if case.sql else {})
        if case.model is not None:
            one, *other = [await call(case.given(self._slots[0], 0)) for call in ways.values()]
            if other and case.compared(one) != case.compared(other[0]):
                raise Disagreement(f"{case}: {one} and {other[0]}")
        for _ in range(_WARM_UP):
            for position, call in enumerate(ways.values()):
                await self._block(case, call, position, max(concurrent))
        measured = []
        for at_a_time in concurrent:
            samples: dict[str, list[Sample]] = {name: [] for name in ("stores", "by_hand")}
            for number in range(rounds):
                for position, name in list(enumerate(ways))[:: 1 if number % 2 == 0 else -1]:
                    samples[name].append(await self._block(case, ways[name], position, at_a_time))
            measured.append(Measured(case.store, case.method, tenants, at_a_time, **samples))
        return measured

    async def _block(
        self, case: Case, call: Callable[[tuple[Any, ...]], Awaitable[Any]], position: int, concurrent: int
    ) -> Sample:
        slots = self._slots[: max(_CALLS, concurrent)]
        inputs = [case.given(slot, position) for slot in slots]
        if case.before is not None:
            await work(partial(case.before, self._stores), inputs, 8)
        return await block(call, inputs, concurrent, self._engines.pids)

    def _call(self, case: Case) -> Callable[[tuple[Any, ...]], Awaitable[Any]]:
        method = getattr(getattr(self._stores, case.store), case.method)

        async def call(arguments: tuple[Any, ...]) -> Any:
            return await method(*arguments, **case.options)

        return call

    def _by_hand(self, case: Case) -> Callable[[tuple[Any, ...]], Awaitable[Any]]:
        pool, sql, params, model = self._engines.bare_pool, case.sql, case.params, case.model
        assert sql is not None

        async def many(arguments: tuple[Any, ...]) -> Any:
            await pool.executemany(sql, params(*arguments))

        async def execute(arguments: tuple[Any, ...]) -> Any:
            await pool.execute(sql, *params(*arguments))

        async def read(arguments: tuple[Any, ...]) -> Any:
            assert model is not None
            rows = await pool.fetch(sql, *params(*arguments))
            if case.document:
                return [model.model_validate_json(row[0]) for row in rows]
            return [model.model_validate({name: row[name] for name in model.model_fields}) for row in rows]

        return many if case.many else execute if model is None else read


async def run(rounds: int, concurrent: Sequence[int], only: str) -> list[Measured]:
    """Measure every method whose name contains a text."""
    measured = []
    console = Console(stderr=True)
    async with open_engines() as engines:
        stores = replace(stores_on(engines), sessions=PostgresSessionStore(engines.pool, timeout=60))
        cases = [case for case in CASES if only in case.method]
        for tenants in SPREAD:
            slots = made(tenants, Vectors(tenants))
            await stored(stores, slots)
            await audit.prepare(engines.bare_pool, slots)
            await engines.bare_pool.execute("VACUUM ANALYZE")
            methods = Methods(engines, stores, slots)
            gc.collect()
            gc.freeze()
            for case in track(cases, f"{tenants} tenants", console=console, transient=True):
                measured += await methods.measure(case, tenants, rounds, concurrent)
            gc.unfreeze()
    return measured


def shown(measured: Sequence[Measured], concurrent: int) -> Table:
    """Return a table of what the methods take, so many calls at a time, for one tenant and for many."""
    table = Table(
        title=f"{concurrent} calls at a time, {' / '.join(map(str, SPREAD))} tenants",
        caption="µs per call of client CPU and server CPU, medians; × by hand is the median of the rounds' ratios.",
    )
    for heading in ("method", "client µs", "× by hand", "server µs", "× by hand"):
        table.add_column(heading, justify="left" if heading == "method" else "right", no_wrap=True)
    rows: dict[str, list[Measured]] = {}
    for each in measured:
        if each.concurrent == concurrent:
            rows.setdefault(f"{each.store}.{each.method}", []).append(each)
    for name, both in rows.items():
        row = [name]
        for figure in ("client", "server"):
            row.append(" / ".join(f"{1e6 * median(getattr(s, figure) for s in each.stores):,.0f}" for each in both))
            row.append(" / ".join(f"{times(each, figure):.2f}" for each in both) if both[0].by_hand else "")
        table.add_row(*row)
    return table


def times(measured: Measured, figure: str) -> float:
    """Return how many times as much as by hand the stores take."""
    return ratio(*([getattr(sample, figure) for sample in side] for side in (measured.stores, measured.by_hand)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.methods", description=__doc__)
    parser.add_argument("--rounds", type=positive, default=3, help="blocks of each way per measurement (default: 3)")
    parser.add_argument("--concurrent", type=positive, nargs="+", default=CONCURRENT, help=f"at most {COUNT}")
    parser.add_argument("--only", default="", metavar="TEXT", help="methods whose name contains this")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of every round")
    arguments = parser.parse_args()
    measured = asyncio.run(run(arguments.rounds, arguments.concurrent, arguments.only))
    console = Console()
    for concurrent in arguments.concurrent:
        (console if console.is_terminal else Console(width=150)).print(shown(measured, concurrent))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(each) for each in measured], indent=2) + "\n")


if __name__ == "__main__":
    main()
