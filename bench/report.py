"""Prints measurements as a table, and writes them as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.harness import Measurement

_MARKS = {True: "[green]✓[/]", False: "[red]✗[/]", None: ""}
_WIDTH = 180


def show(measured: Sequence[Measurement], rounds: int) -> None:
    """Print the table; in a pipe, which has no width, in full width."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    console.print(_table(measured, rounds))


def _table(measured: Sequence[Measurement], rounds: int) -> Table:
    shown = Table(
        box=SIMPLE_HEAD,
        title="Stores against the bare driver",
        caption=f"Per call, medians of {rounds} rounds: CPU time of this process, or wall clock where stated; of "
        "the servers beside. "
        "The ratio is the median of the rounds' ratios.",
    )
    shown.add_column("operation", no_wrap=True)
    for heading in ("tenants", "at a time", "store µs", "driver µs", "ratio", "goal"):
        shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column()
    for heading in ("server ratio", "goal"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for heading in ("store server", "driver server", "store wall", "driver wall"):
        shown.add_column(heading, justify="right", no_wrap=True, style="dim")
    shown.add_column(no_wrap=True)
    for item in measured:
        shown.add_row(
            item.title,
            str(item.tenants),
            str(item.concurrency),
            *(_micro(item.deciding(side)) for side in (item.store, item.driver)),
            f"{item.ratio:.2f}",
            "" if item.goal is None else f"≤ {item.goal:g}",
            _MARKS[item.met],
            f"{item.server_ratio:.2f}",
            "" if item.server_goal is None else f"≤ {item.server_goal:g}",
            *(_micro([sample.server for sample in side]) for side in (item.store, item.driver)),
            *(_micro([sample.wall for sample in side]) for side in (item.store, item.driver)),
            item.note,
        )
    return shown


def write(measured: Sequence[Measurement], path: Path) -> None:
    """Write the seconds per call of every round."""
    operations = [
        {**asdict(item), "ratio": item.ratio, "server_ratio": item.server_ratio, "met": item.met} for item in measured
    ]
    path.write_text(json.dumps(operations, indent=2) + "\n")


def _micro(seconds: Sequence[float]) -> str:
    return f"{1e6 * median(seconds):,.0f}"
