"""`python -m bench.turn`: a whole turn of ten steps, by single calls of the stores or as a whole, against by hand.

The first turns of both ways are compared before anything is timed. Blocks alternate and their order is reversed in
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
import platform
import pstats
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.__main__ import positive
from bench.by_hand import copied
from bench.conversations import REMEMBERED, ByStores, ByUnits, Conversation, Given, Result, Way, given, made, turn
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
WAYS: dict[str, type[ByStores | ByUnits]] = {"single calls": ByStores, "units": ByUnits}
"""Ways of the stores."""
_WARM_UP = 2
"""Turns of each conversation before the first that is timed: statements are prepared, and may get generic plans."""
_TIMEOUT = 60.0
"""Seconds that a call has: on a busy machine 64 conversations at a time may take longer than the default."""
_ROUNDING = 1e-6
"""The stores round scores to six decimals."""


@dataclass(frozen=True)
class Case:
    """What was measured of a way with so many tenants and conversations at a time, round by round."""

    way: str
    tenants: int
    concurrent: int
    stores: list[Sample]
    by_hand: list[Sample]

    def ratio(self, figure: str) -> float:
        """Return what the stores take of a figure to what is taken by hand."""
        return ratio(*([getattr(sample, figure) for sample in side] for side in (self.stores, self.by_hand)))


class Turns:
    """Turns of the same conversations in two ways."""

    def __init__(
        self, conversations: Sequence[Conversation], stores: Way | ByUnits, by_hand: Way, servers: tuple[int, ...]
    ) -> None:
        self.ways: dict[str, Any] = {"stores": stores, "by_hand": by_hand}
        self.conversations = conversations
        self._servers = servers

    async def compare(self) -> None:
        """Run two turns of the first conversations in both ways: by id and by channel.

        Raises:
            Disagreement: they have read different things.
        """
        for conversation in self.conversations[:4]:
            for _ in range(2):
                one, other = [await turn(way, given(conversation, name)) for name, way in self.ways.items()]
                if wrong := _difference(one, other):
                    raise Disagreement(f"a turn reads another {wrong} by hand")

    async def block(self, name: str, concurrent: int, times: int) -> Sample:
        """Run turns of every conversation in one way, so many at a time."""
        return await block(*self._work(name, times), concurrent, self._servers)

    async def round_trips(self, name: str) -> list[int]:
        """Return how often a turn sends something, alone: the smallest of five, by id and by channel."""
        conversation = self.conversations[0]
        found: list[list[int]] = [[], []]
        for _ in range(10):
            one = given(conversation, name)
            with _writes() as written:
                await turn(self.ways[name], one)
            found[one.number % 2].append(len(written))
        return [min(each) for each in found]

    async def profiled(self) -> pstats.Stats:
        """Return where the time of this thread goes in turns by the stores, 16 at a time."""
        profile = cProfile.Profile(time.thread_time)
        call, inputs = self._work("stores", 2)
        gc.collect()
        gc.freeze()
        with profile:
            await work(call, inputs, 16)
        gc.unfreeze()
        return pstats.Stats(profile)

    def _work(self, name: str, times: int) -> tuple[Callable[[Given], Awaitable[Result]], list[Given]]:
        """Return how to run a turn, and what the turns are given: those of a conversation must not overlap."""
        return partial(turn, self.ways[name]), [given(c, name) for _ in range(times) for c in self.conversations]


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
    engines: Engines,
    stores: Stores,
    tenants: int,
    conversations: int = CONVERSATIONS,
    remembered: int = REMEMBERED,
    way: type[ByStores | ByUnits] = ByStores,
) -> Turns:
    """Store conversations, spread over tenants, with so many episodes each, for a way of the stores and by hand."""
    found = await made(stores, tenants, conversations, remembered)
    by_hand = await copied(stores, engines.bare_pool, engines.bare_client, found)
    return Turns(found, way(stores), by_hand, engines.pids)


async def run(rounds: int, times: int, *, profile: bool) -> tuple[list[Case], dict[str, list[int]]]:
    """Measure every case; return the figures and the round trips of a turn."""
    cases, trips = [], dict[str, list[int]]()
    async with open_engines() as engines:
        stores = stores_on(engines)
        prepared = {
            (name, n): await prepared_for(engines, stores, n, way=way)
            for n in sorted({tenants for tenants, _ in CASES})
            for name, way in WAYS.items()
        }
        for (tenants, concurrent), way in product(CASES, WAYS):
            turns = prepared[way, tenants]
            await turns.compare()
            for name in turns.ways:
                await turns.block(name, concurrent, _WARM_UP)
            gc.collect()
            gc.freeze()
            costs: dict[str, list[Sample]] = {name: [] for name in turns.ways}
            for number in range(rounds):
                for name in turns.ways if number % 2 == 0 else reversed(turns.ways):
                    costs[name].append(await turns.block(name, concurrent, times))
            gc.unfreeze()
            cases.append(Case(way, tenants, concurrent, **costs))
            trips |= {way: await turns.round_trips("stores"), "by hand": await turns.round_trips("by_hand")}
        if profile:
            for way in WAYS:
                (await prepared[way, 64].profiled()).sort_stats("tottime").print_stats(10)
        await stores.sessions.aclose()  # type: ignore[attr-defined]
    return cases, trips


def shown(cases: Sequence[Case], trips: dict[str, list[int]], rounds: int) -> Table:
    """Return the table of the figures."""
    table = Table(
        title="A whole turn by the stores, and by hand",
        caption=f"Milliseconds per turn, medians of {rounds} rounds; ratios are medians of the rounds' ratios. "
        "Round trips, session by id / by channel: "
        + "; ".join(f"{way} {' / '.join(map(str, found))}" for way, found in trips.items()),
    )
    for heading in ("way", "tenants", "concurrent", *(f"{figure}{what}" for figure in _FIGURES for what in _COLUMNS)):
        table.add_column(heading, justify="right", no_wrap=True)
    for case in cases:
        row = [case.way, str(case.tenants), str(case.concurrent)]
        for figure in _FIGURES:
            row += [f"{1e3 * median(getattr(c, figure) for c in side):.2f}" for side in (case.stores, case.by_hand)]
            row.append(f"{case.ratio(figure):.2f}")
        table.add_row(*row)
    return table


_FIGURES = ("client", "server", "wall")
_COLUMNS = ("", " by hand", " ratio")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.turn", description=__doc__)
    parser.add_argument("--rounds", type=positive, default=7, help="blocks of each way per case (default: 7)")
    parser.add_argument("--times", type=positive, default=2, help="turns of each conversation per block (default: 2)")
    parser.add_argument("--profile", action="store_true", help="also print the ten costliest functions of a turn")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of every round")
    arguments = parser.parse_args()
    cases, trips = asyncio.run(run(arguments.rounds, arguments.times, profile=arguments.profile))
    console = Console()
    (console if console.is_terminal else Console(width=150)).print(shown(cases, trips, arguments.rounds))
    if arguments.json:
        machine = {"python": platform.python_version(), "system": platform.platform()}
        ratios = [{figure: case.ratio(figure) for figure in _FIGURES} for case in cases]
        measured = [asdict(case) | {"ratios": ratio} for case, ratio in zip(cases, ratios, strict=True)]
        written = {"machine": machine, "turns": measured, "round_trips": trips}
        arguments.json.write_text(json.dumps(written, indent=2) + "\n")


if __name__ == "__main__":
    main()
