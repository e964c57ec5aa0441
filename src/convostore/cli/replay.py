"""`convostore replay`: replays records through all five stores, with progress and a report."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import UUID

from rich.console import Console

from convostore import Interceptor, open_stores
from convostore.cli.measure import Measure
from convostore.cli.output import report, terminal
from convostore.cli.progress import counting, waiting
from convostore.cli.tables import facts, show
from convostore.replay import Record, Replay, Report, read
from convostore.stores import Stores

_STANDARD_INPUT = Path("/dev/stdin")


async def run(files: Sequence[Path], tenant_id: UUID, settings: dict[str, Any], *, as_json: bool) -> bool:
    """Replay files into a tenant, print the report, and return whether every check passed."""
    console, measure = terminal(quiet=as_json), Measure()
    paths = [_STANDARD_INPUT if file == Path("-") else file for file in files]
    async with opened(console, settings, measure) as stores:
        outcome = await play(stores, tenant_id, lambda: chain.from_iterable(map(read, paths)))
        passed = show(console, outcome, measure)
        console.print(f"The data belong to tenant {tenant_id}.", highlight=False)
    if as_json:
        report("", as_json=True, tenant=tenant_id, **facts(outcome, measure))
    return passed


@asynccontextmanager
async def opened(console: Console, settings: dict[str, Any], *interceptors: Interceptor) -> AsyncIterator[Stores]:
    """Open the stores, and print how long that took."""
    async with AsyncExitStack() as stack:
        started = time.perf_counter()
        with waiting("Opening the stores: starting servers, migrating"):
            stores = await stack.enter_async_context(open_stores(**settings, interceptors=interceptors))
        console.print(f"Stores opened and migrated in {time.perf_counter() - started:.1f} s.", highlight=False)
        yield stores


async def play(
    stores: Stores, tenant_id: UUID, records: Callable[[], Iterable[Record]], total: int | None = None
) -> Report:
    """Replay records and show the progress."""
    with counting("Replaying records", total) as watch:
        return await Replay(stores, tenant_id).play(records, lambda _: watch(1))
