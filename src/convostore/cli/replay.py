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
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from convostore import Interceptor, open_stores
from convostore.cli.measure import Measure
from convostore.cli.tables import show
from convostore.replay import Record, Replay, Report, read
from convostore.stores import Stores


async def run(console: Console, files: Sequence[Path], tenant_id: UUID, settings: dict[str, Any]) -> bool:
    """Replay files into a tenant, print the report, and return whether every check passed."""
    measure = Measure()
    async with opened(console, settings, measure) as stores:
        report = await play(console, stores, tenant_id, lambda: chain.from_iterable(map(read, files)))
        passed = show(console, report, measure)
        console.print(f"The data belong to tenant {tenant_id}.", highlight=False)
    return passed


@asynccontextmanager
async def opened(console: Console, settings: dict[str, Any], *interceptors: Interceptor) -> AsyncIterator[Stores]:
    """Open the stores, and print how long that took."""
    async with AsyncExitStack() as stack:
        started = time.perf_counter()
        with console.status("Opening the stores: starting servers, migrating"):
            stores = await stack.enter_async_context(open_stores(**settings, interceptors=interceptors))
        console.print(f"Stores opened and migrated in {time.perf_counter() - started:.1f} s.", highlight=False)
        yield stores


async def play(
    console: Console, stores: Stores, tenant_id: UUID, records: Callable[[], Iterable[Record]], total: int | None = None
) -> Report:
    """Replay records and show the progress."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("Replaying", total=total)

        def played(record: Record) -> None:
            progress.update(task, advance=1, description=f"Replaying {record.kind}s")

        return await Replay(stores, tenant_id).play(records, played)
