"""`python -m bench.turn`: a whole turn of ten steps by single calls of the stores, by two calls, and by hand.

The two calls are `load_turn` and `unit_of_work`. The first turns of all ways are compared before anything is timed.
Blocks alternate and their order is reversed in
every other round; the heap is frozen and collected before a block, not within. What the caller hands over is made
before.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import json
import math
import pstats
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.__main__ import positive
from bench.by_hand import copied
from bench.conversations import REMEMBERED, ByStores, ByUnits, Conversation, Given, Result, Way, given, made, read, turn
from bench.costliest import Function, costliest
from bench.engines import Engines, open_engines
from bench.harness import Disagreement, Sample, block, ratio, work
from convostore import Stores
from convostore.models import CustomerProfile, Session
from convostore.postgres import (
    PostgresAuditStore,
    PostgresConfigStore,
    PostgresMemoryStore,
    PostgresProfileStore,
    PostgresSessionStore,
)
from convostore.tiered import TieredSessionStore

CONVERSATIONS = 64
CASES = ((1, 1), (64, 16), (64, 64))
"""Tenants, and conversations at a time."""
_WARM_UP = 2
"""Turns of each conversation before the first that is timed: statements are prepared, and may get generic plans."""
_TIMEOUT = 60.0
"""Seconds that a call has: on a busy machine 64 conversations at a time may take longer than the default."""
_ROUNDING = 1e-6
"""The stores round scores to six decimals."""


@dataclass(frozen=True)
class Case:
    """What was measured with so many tenants and conversations at a time, round by round."""

    tenants: int
    concurrent: int
    stores: list[Sample]
    units: list[Sample]
    by_hand: list[Sample]

    def ratio(self, figure: str, way: str = "stores") -> float:
        """Return what a way takes of a figure to what is taken by hand."""
        return ratio(*([getattr(sample, figure) for sample in side] for side in (getattr(self, way), self.by_hand)))


@dataclass(frozen=True)
class Measured:
    """All figures: of every case, round trips with the session by id and by channel, the costliest functions."""

    cases: list[Case]
    round_trips: dict[str, list[int]]
    costliest: list[Function]


class Turns:
    """Turns of the same conversations in three ways.

    Attributes:
        steps: the ways that are single steps.
    """

    def __init__(
        self, conversations: Sequence[Conversation], stores: Stores, by_hand: Way, servers: tuple[int, ...]
    ) -> None:
        self.steps: dict[str, Way] = {"stores": ByStores(stores), "by_hand": by_hand}
        self.ways: dict[str, Callable[[Given], Awaitable[Result]]] = {
            "stores": partial(turn, self.steps["stores"]),
            "units": ByUnits(stores).turn,
            "by_hand": partial(turn, by_hand),
        }
        self.conversations = conversations
        self._servers = servers

    async def compare(self) -> None:
        """Run turns of the first conversations in all ways: by id and by channel.

        Raises:
            Disagreement: two have read different things: single calls and by hand, or two calls and single ones.
        """
        by_calls, by_units, by_hand = self.ways.values()
        for conversation in self.conversations[:4]:
            for _ in range(2):
                pair = await by_calls(given(conversation, "stores")), await by_hand(given(conversation, "by_hand"))
                if wrong := _difference(*pair):
                    raise Disagreement(f"a turn reads another {wrong} by hand")
            for _ in range(2):
                one = given(conversation, "stores")
                expected = await read(self.steps["stores"], one)
                expected.session.variables["turn"] = one.number
                if wrong := _difference(expected, await by_units(one)):
                    raise Disagreement(f"load_turn reads another {wrong}")
                # So that both stores hold the same again.
                await by_hand(given(conversation, "by_hand"))

    async def block(self, name: str, concurrent: int, times: int) -> Sample:
        """Run turns of every conversation in one way, so many at a time."""
        return await block(*self._work(name, times), concurrent, self._servers)

    async def round_trips(self, name: str) -> list[int]:
        """Return how often a turn sends something, alone: the smallest of five, by id and by channel."""
        conversation = self.conversations[0]
        found: list[list[int]] = [[], []]
        for _ in range(10):
            one = given(conversation, _counter(name))
            with _writes() as written:
                await self.ways[name](one)
            found[one.number % 2].append(len(written))
        return [min(each) for each in found]

    async def profiled(self) -> list[Function]:
        """Return where the time of this thread goes in turns by the stores, 16 at a time."""
        profile = cProfile.Profile(time.thread_time)
        call, inputs = self._work("stores", 2)
        gc.collect()
        gc.freeze()
        with profile:
            await work(call, inputs, 16)
        gc.unfreeze()
        return costliest(pstats.Stats(profile), len(inputs))

    def _work(self, name: str, times: int) -> tuple[Callable[[Given], Awaitable[Result]], list[Given]]:
        """Return how to run a turn, and what the turns are given: those of a conversation must not overlap."""
        return self.ways[name], [given(c, _counter(name)) for _ in range(times) for c in self.conversations]


def _counter(way: str) -> str:
    """Return who counts the turns of a way: those of the stores are turns of the same sessions."""
    return "by_hand" if way == "by_hand" else "stores"


def _difference(one: Result, other: Result) -> str | None:
    """Return what two turns have read differently, but for what the stores set when they save."""
    parts: dict[str, Callable[[Result], Any]] = {
        "session": lambda r: r.session.model_dump(exclude={*Session.store_managed}),
        "profile": lambda r: _content(r.profile),
        "agent configuration": lambda r: r.config,
        "list of rules": lambda r: [rule for rule, _ in r.rules],
        "list of episodes": lambda r: [_remembered(episode) for episode, _ in r.episodes],
    }
    for name, part in parts.items():
        if part(one) != part(other):
            return name
    scores = zip([*one.rules, *one.episodes], [*other.rules, *other.episodes], strict=True)
    return None if all(math.isclose(a, b, abs_tol=_ROUNDING) for (_, a), (_, b) in scores) else "score"


def _content(profile: CustomerProfile) -> dict[str, Any]:
    made = profile.model_dump(exclude={*CustomerProfile.store_managed})
    # Each way is given fields of its own.
    made["fields"] = {name: field["value"] for name, field in made["fields"].items()}
    return made


def _remembered(episode: Any) -> dict[str, Any]:
    # Each way is given episodes of its own, of the same content.
    return episode.model_dump(exclude={"id", "recorded_at"})  # type: ignore[no-any-return]


@contextmanager
def _writes() -> Iterator[list[str]]:
    """Note the writes to sockets within the block: each is a round trip, as one waits for its answer."""
    written: list[str] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_name == "write" and code.co_filename.endswith("selector_events.py"):
            written.append(code.co_name)

    sys.setprofile(note)
    try:
        yield written
    finally:
        sys.setprofile(None)


def stores_on(engines: Engines) -> Stores:
    """Return the five stores, as `open_stores` puts them together."""
    pool = engines.pool
    return Stores(
        sessions=TieredSessionStore(
            engines.client, PostgresSessionStore(pool, timeout=_TIMEOUT), hot_timeout=_TIMEOUT, timeout=_TIMEOUT
        ),
        config=PostgresConfigStore(pool, timeout=_TIMEOUT),
        memory=PostgresMemoryStore(pool, timeout=_TIMEOUT),
        audit=PostgresAuditStore(pool, timeout=_TIMEOUT),
        profiles=PostgresProfileStore(pool, timeout=_TIMEOUT),
    )


async def prepared_for(
    engines: Engines, stores: Stores, tenants: int, conversations: int = CONVERSATIONS, remembered: int = REMEMBERED
) -> Turns:
    """Store conversations, spread over tenants, with so many episodes each, for all ways, and compare these."""
    found = await made(stores, tenants, conversations, remembered)
    by_hand = await copied(stores, engines.bare_pool, engines.bare_client, found)
    turns = Turns(found, stores, by_hand, engines.pids)
    await turns.compare()
    return turns


async def run(rounds: int, times: int) -> Measured:
    """Measure every case."""
    cases, trips = [], dict[str, list[int]]()
    async with open_engines() as engines:
        stores = stores_on(engines)
        prepared = {n: await prepared_for(engines, stores, n) for n in sorted({tenants for tenants, _ in CASES})}
        for tenants, concurrent in CASES:
            turns = prepared[tenants]
            for name in turns.ways:
                await turns.block(name, concurrent, _WARM_UP)
            # As autovacuum does each minute: plans of tables that have grown since are made anew, for all ways.
            await engines.bare_pool.execute("ANALYZE")
            for name in turns.ways:
                await turns.block(name, concurrent, 1)
            gc.collect()
            gc.freeze()
            costs: dict[str, list[Sample]] = {name: [] for name in turns.ways}
            for number in range(rounds):
                for name in turns.ways if number % 2 == 0 else reversed(turns.ways):
                    costs[name].append(await turns.block(name, concurrent, times))
            gc.unfreeze()
            cases.append(Case(tenants, concurrent, **costs))
            trips = {name: await turns.round_trips(name) for name in turns.ways}
        costly = await prepared[max(prepared)].profiled()
        await stores.sessions.aclose()  # type: ignore[attr-defined]
    return Measured(cases, trips, costly)


def shown(measured: Measured, rounds: int) -> tuple[Table, Table]:
    """Return the tables of the figures and of the costliest functions."""
    trips = (f"{_WAYS[way]} {' / '.join(map(str, each))}" for way, each in measured.round_trips.items())
    table = Table(
        title="A whole turn",
        caption=f"Milliseconds per turn, medians of {rounds} rounds; × by hand is the median of the rounds' ratios. "
        f"Round trips, session by id / by channel: {', '.join(trips)}.",
    )
    for heading in ("tenants", "at a time", "way", "client", "×", "server", "×", "wall", "×"):
        table.add_column(heading, justify="left" if heading == "way" else "right", no_wrap=True)
    for case in measured.cases:
        for way, title in _WAYS.items():
            row = [str(case.tenants), str(case.concurrent), title]
            for figure in ("client", "server", "wall"):
                row.append(f"{1e3 * median(getattr(sample, figure) for sample in getattr(case, way)):.2f}")
                row.append(f"{case.ratio(figure, way):.2f}")
            table.add_row(*row)
    functions = Table("function", title="The costliest functions of a turn by single calls, by their own time")
    functions.add_column("calls", justify="right")
    functions.add_column("share", justify="right")
    for each in measured.costliest:
        functions.add_row(each.name, f"{each.calls:.0f}", f"{each.share:.1%}")
    return table, functions


_WAYS = {"stores": "single calls", "units": "load_turn, unit_of_work", "by_hand": "by hand"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.turn", description=__doc__)
    parser.add_argument("--rounds", type=positive, default=7, help="blocks of each way per case (default: 7)")
    parser.add_argument("--times", type=positive, default=2, help="turns of each conversation per block (default: 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of every round")
    arguments = parser.parse_args()
    measured = asyncio.run(run(arguments.rounds, arguments.times))
    console = Console()
    for table in shown(measured, arguments.rounds):
        (console if console.is_terminal else Console(width=150)).print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(asdict(measured), indent=2) + "\n")


if __name__ == "__main__":
    main()
