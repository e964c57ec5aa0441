"""`python -m bench.operations`: what every method reads, plans and takes of the server beside the data of others.

Every method is called as the tests of round trips do, for a new tenant each time, beside 100, 1,000 and 10,000 tenants
that have three of everything. Rows and pages are those of the statement of a call that reads most; the planning is that
of a statement explained; the server's CPU is the median of rounds on warm connections.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pytest
from rich.console import Console
from rich.table import Table

from bench.__main__ import positive
from bench.servers import stopwatch
from convostore.embedded import open_embedded
from convostore.postgres import create_pool, migrate
from tests.postgres.databases import connected
from tests.postgres.filled import fill
from tests.postgres.test_growth import Read, call_everything, reads
from tests.postgres.test_plans import ROWS, multiply

TENANTS = (100, 1_000, 10_000)
UPKEEP = {
    "a sweep with nothing due": "SELECT * FROM convostore.old_sessions('2000-01-01', 1000)",
    "a purge of all tenants with nothing due": "SELECT * FROM convostore.tenants_to_purge('2000-01-01')",
    "which spaces are large": "SELECT * FROM convostore.vector_spaces_above(20000)",
    "which tenants have embeddings": "SELECT * FROM convostore.tenants_with_embeddings()",
}
"""What concerns all tenants."""


class Cost(NamedTuple):
    """What a call costs the server: rows and pages read, milliseconds of planning, microseconds of CPU."""

    rows: float
    pages: int
    planning: float
    cpu: float


class Taken:
    """Measures the server's CPU time of each call."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)

    @asynccontextmanager
    async def measuring(self, call: Any, store: Any) -> AsyncIterator[None]:
        """Measure a block."""
        watch = stopwatch(self._pid)
        try:
            yield
        finally:
            self.seconds[named(f"{store.kind}.{call.method}", call.case)].append(watch())


def named(method: str, case: str) -> str:
    """Return a call's name."""
    return f"{method}, {case}" if case else method


def most(read: dict[tuple[str, str, str], Read]) -> dict[str, Read]:
    """Return what the statement of each call that reads most reads."""
    found: dict[str, Read] = {}
    for (method, case, _), each in read.items():
        name = named(method, case)
        found[name] = max(found.get(name, each), each, key=lambda one: (one.pages, one.rows))
    return found


async def upkeep(admin: Any, pid: int, rounds: int, statements: dict[str, str]) -> dict[str, Cost]:
    """Measure what concerns all tenants; the rows of a function are those that it returns."""
    costs = {}
    for name, statement in statements.items():
        taken = []
        for _ in range(rounds + 1):
            watch = stopwatch(pid)
            await admin.fetch(statement)
            taken.append(watch())
        (row,) = await admin.fetch(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {statement}")
        explained = json.loads(row[0])[0]
        top = explained["Plan"]
        pages = top["Shared Hit Blocks"] + top["Shared Read Blocks"]
        costs[name] = Cost(top["Actual Rows"], pages, explained["Planning Time"], 1e6 * median(taken[1:]))
    return costs


async def run(tenants: Sequence[int], rounds: int) -> dict[int, dict[str, Cost]]:
    """Measure every call beside each number of other tenants."""
    found: dict[int, dict[str, Cost]] = {}
    async with open_embedded(ephemeral=True) as servers:
        dsn, pid = servers.postgres_dsn, servers.postgres_pid
        assert pid is not None
        await migrate(dsn)
        async with (
            await create_pool(dsn, max_size=1) as pool,
            await create_pool(dsn, max_size=1, role="convostore_maintenance") as maintenance,
            connected(dsn, session_replication_role="replica") as admin,
        ):
            filled, others = [await fill(pool) for _ in range(ROWS)], 0
            for wanted in tenants:
                await multiply(admin, filled, range(others + 1, wanted + 1))
                others, taken = wanted, Taken(pid)
                with pytest.MonkeyPatch.context() as patch:
                    read = most(await reads(pool, maintenance, admin, patch))
                for _ in range(rounds):
                    await call_everything(pool, maintenance, taken)
                found[wanted] = {
                    name: Cost(each.rows, each.pages, each.planning, 1e6 * median(taken.seconds[name]))
                    for name, each in read.items()
                    if name in taken.seconds
                } | await upkeep(admin, pid, rounds, UPKEEP)
    return found


def shown(found: dict[int, dict[str, Cost]]) -> Table:
    """Return the table of the figures."""
    table = Table(title=f"Beside {' / '.join(f'{tenants:,}' for tenants in found)} other tenants")
    for heading in ("call", "rows", "pages", "planning ms", "server µs"):
        table.add_column(heading, justify="left" if heading == "call" else "right", no_wrap=True)
    for line in lines(found):
        table.add_row(*line)
    return table


def lines(found: dict[int, dict[str, Cost]]) -> Iterable[tuple[str, ...]]:
    """Yield the cells of each call."""
    for name in next(iter(found.values())):
        costs = [each[name] for each in found.values()]
        yield (
            name,
            " / ".join(f"{cost.rows:,.0f}" for cost in costs),
            " / ".join(f"{cost.pages:,}" for cost in costs),
            " / ".join(f"{cost.planning:.2f}" for cost in costs),
            " / ".join(f"{cost.cpu:,.0f}" for cost in costs),
        )


def markdown(found: dict[int, dict[str, Cost]], before: dict[str, Cost]) -> str:
    """Return the table for a page, with the figures of another release beside the most tenants."""
    rows = ["| call | rows | pages | planning, ms | server, µs | before |", "|---|---|---|---|---|---|"]
    for name, *cells in lines(found):
        one = before.get(name)
        was = f"{one.rows:,.0f}; {one.pages:,}; {one.planning:.2f}; {one.cpu:,.0f}" if one else ""
        method, comma, case = name.partition(", ")
        title = f"`{method}`{comma}{case}" if "." in method else name
        rows.append(f"| {title} | {' | '.join(cells)} | {was} |")
    return "\n".join(rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.operations", description=__doc__)
    parser.add_argument("--rounds", type=positive, default=7, help="calls of each method per size (default: 7)")
    parser.add_argument("--tenants", type=positive, nargs="+", default=TENANTS, help="how many others there are")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the table of a page of the documentation")
    parser.add_argument("--before", type=Path, metavar="FILE", help="the figures of another release, from its --json")
    arguments = parser.parse_args()
    found = asyncio.run(run(arguments.tenants, arguments.rounds))
    Console(width=200).print(shown(found))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    if arguments.page:
        kept = json.loads(arguments.before.read_text())[str(max(found))] if arguments.before else {}
        arguments.page.write_text(markdown(found, {name: Cost(*figures) for name, figures in kept.items()}))


if __name__ == "__main__":
    main()
