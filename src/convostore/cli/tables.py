"""Prints the report of a replay."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median, quantiles

from rich.console import Console
from rich.table import Table

from convostore.cli.measure import Measure
from convostore.replay import Report

_PROBLEMS = 10


def show(console: Console, report: Report, measure: Measure) -> bool:
    """Print counts, durations and checks; return whether every check passed."""
    console.print(_contents(report), _operations(measure.durations))
    for claim, outcomes in report.checks.items():
        failed, held = outcomes[False], outcomes[True]
        mark = "[red]✗[/]" if failed else "[green]✓[/]"
        console.print(f"{mark} {claim} [dim]({f'{failed} of {failed + held} failed' if failed else f'{held}×'})[/]")
    for problem in report.problems[:_PROBLEMS]:
        console.print(f"  [red]{problem}[/]", highlight=False)
    if len(report.problems) > _PROBLEMS:
        console.print(f"  [red]and {len(report.problems) - _PROBLEMS} more[/]")
    return not report.problems


def _contents(report: Report) -> Table:
    table = Table("store", "what", title="In the stores", title_justify="left")
    table.add_column("written", justify="right")
    table.add_column("read back", justify="right")
    last = None
    for (store, what), written in report.written.items():
        if last is not None and store != last:
            table.add_section()
        table.add_row("" if store == last else store, what, f"{written:,}", f"{report.read[store, what]:,}")
        last = store
    return table


def _operations(durations: Mapping[tuple[str, str], list[float]]) -> Table:
    table = Table("store", "operation", title="Operations", title_justify="left", caption_justify="left")
    table.caption = "Milliseconds, one call at a time, on this machine; `make bench` compares with the bare drivers."
    for heading in ("calls", "median ms", "p99 ms"):
        table.add_column(heading, justify="right")
    stores = list(dict.fromkeys(store for store, _ in durations))
    last = None
    for (store, method), seconds in sorted(durations.items(), key=lambda entry: stores.index(entry[0][0])):
        if last is not None and store != last:
            table.add_section()
        p99 = quantiles(seconds, n=100, method="inclusive")[98] if len(seconds) > 1 else seconds[0]
        figures = (f"{len(seconds):,}", f"{median(seconds) * 1000:.2f}", f"{p99 * 1000:.2f}")
        table.add_row("" if store == last else store, method, *figures)
        last = store
    return table
