"""`python -m bench`: measures the speed goals on engines of its own. A missed goal is reported, not a failure."""

from __future__ import annotations

import argparse
import asyncio
import gc
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.status import Status

from bench import audit, config, memory, profiles, report, sessions
from bench.data import ITEMS
from bench.engines import Engines, open_engines
from bench.harness import Measurement, Operation, measure

OPERATIONS: dict[str, Callable[[Engines], Awaitable[Operation]]] = {
    **sessions.OPERATIONS,
    **config.OPERATIONS,
    **profiles.OPERATIONS,
    **memory.OPERATIONS,
    **audit.OPERATIONS,
}


def main() -> None:
    arguments = _parser().parse_args()
    with Console(stderr=True).status("starting the engines") as progress:
        names = arguments.only or list(OPERATIONS)
        measured = asyncio.run(_run(names, arguments.rounds, arguments.concurrent, progress))
    report.show(measured, arguments.rounds)
    if arguments.json:
        report.write(measured, arguments.json)


async def _run(names: list[str], rounds: int, concurrent: Sequence[int], progress: Status) -> list[Measurement]:
    measured = []
    async with open_engines() as engines:
        for name in names:
            progress.update(name)
            given = await OPERATIONS[name](engines)
            # A goal is for a number of calls at a time.
            title = given.title.removesuffix(", alone").removesuffix(", 64 concurrent")
            others = [
                replace(given, title=title, concurrency=number, goal=None, server_goal=None) for number in concurrent
            ]
            # Collections during a measurement skip the objects of its set-up.
            gc.collect()
            gc.freeze()
            for operation in others or [given]:
                measured += await measure(name, operation, rounds, engines.pids)
            gc.unfreeze()
    return measured


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the stores against the bare drivers.")
    parser.add_argument("--rounds", type=positive, default=7, help="blocks of each side per measurement (default: 7)")
    parser.add_argument(
        "--only",
        action="append",
        choices=OPERATIONS,
        metavar="NAME",
        help=f"one of {', '.join(OPERATIONS)}; repeatable",
    )
    parser.add_argument(
        "--concurrent",
        type=positive,
        nargs="+",
        default=[],
        metavar="NUMBER",
        help=f"so many calls at a time, at most {ITEMS}, instead of those of the goals",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of every round")
    return parser


def positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise ValueError
    return value


if __name__ == "__main__":
    main()
