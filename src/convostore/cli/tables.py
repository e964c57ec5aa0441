"""The report of a replay: as tables, and as data."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median, quantiles
from typing import Any

from rich.console import Console
from rich.table import Table

from convostore.cli import output
from convostore.cli.measure import Measure
from convostore.replay import Report

_PROBLEMS = 10


def show(console: Console, report: Report, measure: Measure) -> bool:
    """Print counts, durations and checks; return whether every check passed."""
    console.print("\n[bold]In the stores[/]", _contents(report), sep="\n")
    console.print("\n[bold]Operations[/], one call at a time", _operations(measure.durations), "", sep="\n")
    for claim, outcomes in report.checks.items():
        failed, held = outcomes[False], outcomes[True]
        mark = "[red]✗[/]" if failed else "[green]✓[/]"
        console.print(f"{mark} {claim} [dim]({f'{failed} of {failed + held} failed' if failed else f'{held}×'})[/]")
    for problem in report.problems[:_PROBLEMS]:
        console.print(f"  [red]{problem}[/]", highlight=False)
    if len(report.problems) > _PROBLEMS:
        console.print(f"  [red]and {len(report.problems) - _PROBLEMS} more[/]")
    return not report.problems


def facts(report: Report, measure: Measure) -> dict[str, Any]:
    """Return what `show` prints, as data."""
    return {
        "ok": not report.problems,
        "written": [
            {"store": store, "what": what, "written": written, "read_back": report.read[store, what]}
            for (store, what), written in report.written.items()
        ],
        "operations": [
            {"store": store, "operation": method, "calls": len(seconds), "median_ms": p50, "p99_ms": p99}
            for (store, method), seconds in measure.durations.items()
            for p50, p99 in [_milliseconds(seconds)]
        ],
        "checks": [
            {"claim": claim, "held": outcomes[True], "failed": outcomes[False]}
            for claim, outcomes in report.checks.items()
        ],
        "problems": report.problems,
    }


def _contents(report: Report) -> Table:
    table = output.table("store", "what", "written", "read back", numeric=("written", "read back"))
    last = None
    for (store, what), written in report.written.items():
        if last is not None and store != last:
            table.add_section()
        table.add_row("" if store == last else store, what, f"{written:,}", f"{report.read[store, what]:,}")
        last = store
    return table


def _operations(durations: Mapping[tuple[str, str], list[float]]) -> Table:
    figures = ("calls", "median ms", "p99 ms")
    table = output.table("store", "operation", *figures, numeric=figures)
    stores = list(dict.fromkeys(store for store, _ in durations))
    last = None
    for (store, method), seconds in sorted(durations.items(), key=lambda entry: stores.index(entry[0][0])):
        if last is not None and store != last:
            table.add_section()
        p50, p99 = _milliseconds(seconds)
        table.add_row("" if store == last else store, method, f"{len(seconds):,}", f"{p50:.2f}", f"{p99:.2f}")
        last = store
    return table


def _milliseconds(seconds: list[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile."""
    p99 = quantiles(seconds, n=100, method="inclusive")[98] if len(seconds) > 1 else seconds[0]
    return median(seconds) * 1000, p99 * 1000
