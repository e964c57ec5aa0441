"""`python -m bench.steps`: each step of a turn by the stores, against the same by hand; 64 tenants, 16 at a time."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

from rich.console import Console
from rich.table import Table

from bench.__main__ import positive
from bench.conversations import Given, Way, given
from bench.engines import open_engines
from bench.harness import Sample, block, ratio
from bench.turn import Turns, prepared_for, stores_on
from convostore.models import Session

TENANTS, CONCURRENT = 64, 16
_WARM_UP = 2

_SESSIONS: dict[tuple[int, UUID], Session] = {}
"""What each way has read last."""


async def _read_session(way: Way, given: Given) -> None:
    c = given.conversation
    _SESSIONS[id(way), c.session_id] = await way.session(c, by_channel=False)


STEPS: dict[str, Callable[[Way, Given], Awaitable[Any]]] = {
    "session by channel": lambda way, given: way.session(given.conversation, by_channel=True),
    "session by id": _read_session,
    "profile": lambda way, given: way.profile(given.conversation),
    "agent configuration": lambda way, given: way.config(given.conversation),
    "rule search": lambda way, given: way.rules(given.conversation),
    "episode search": lambda way, given: way.episodes(given.conversation),
    "add two episodes": lambda way, given: way.add_episodes(given.episodes),
    "update field": lambda way, given: way.update_field(given.conversation, given.field),
    "save turn": lambda way, given: way.save_turn(given.record),
    "save event": lambda way, given: way.save_event(given.event),
    "session save": lambda way, given: way.save_session(_SESSIONS[id(way), given.conversation.session_id]),
}
"""In the order of a turn: a session is read before it is saved."""
GOALS = {"agent configuration": 0.3, "add two episodes": 1.5, "update field": 1.5}
"""Of client CPU; what a turn and an event may take is said of calls alone and of 64."""


@dataclass(frozen=True)
class Step:
    """What a step takes in both ways, round by round."""

    name: str
    stores: list[Sample]
    by_hand: list[Sample]

    def ratio(self, figure: str) -> float:
        """Return what the stores take of a figure to what is taken by hand."""
        return ratio(*([getattr(sample, figure) for sample in side] for side in (self.stores, self.by_hand)))


async def run(rounds: int) -> list[Step]:
    """Measure every step."""
    steps = []
    async with open_engines() as engines:
        stores = stores_on(engines)
        turns = await prepared_for(engines, stores, TENANTS)
        gc.collect()
        gc.freeze()
        for name, step in STEPS.items():
            samples: dict[str, list[Sample]] = {way: [] for way in turns.steps}
            for number in range(_WARM_UP + rounds):
                for way in turns.steps if number % 2 == 0 else reversed(turns.steps):
                    sample = await _block(turns, way, step, engines.pids)
                    samples[way] += [sample] if number >= _WARM_UP else []
            steps.append(Step(name, **samples))
        gc.unfreeze()
        await stores.sessions.aclose()  # type: ignore[attr-defined]
    return steps


async def _block(
    turns: Turns, way: str, step: Callable[[Way, Given], Awaitable[Any]], servers: tuple[int, ...]
) -> Sample:
    inputs = [given(c, way) for _ in range(2) for c in turns.conversations]
    return await block(partial(step, turns.steps[way]), inputs, CONCURRENT, servers)


def shown(steps: list[Step]) -> Table:
    """Return the table of the figures."""
    table = Table(
        title=f"The steps of a turn, {TENANTS} tenants, {CONCURRENT} at a time", caption="µs per call, medians"
    )
    for heading in ("", "client", "by hand", "×", "server", "by hand", "×"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for step in steps:
        row = [step.name]
        for figure in ("client", "server"):
            row += [f"{1e6 * median(getattr(s, figure) for s in side):,.0f}" for side in (step.stores, step.by_hand)]
            row.append(f"{step.ratio(figure):.2f}")
        table.add_row(*row)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.steps", description=__doc__)
    parser.add_argument("--rounds", type=positive, default=7, help="blocks of each way per step (default: 7)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of every round")
    arguments = parser.parse_args()
    steps = asyncio.run(run(arguments.rounds))
    console = Console()
    (console if console.is_terminal else Console(width=150)).print(shown(steps))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(step) for step in steps], indent=2) + "\n")


if __name__ == "__main__":
    main()
