"""`convostore sweep`: the sweep of `open_stores`, for cron or a process of its own."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import typer

from convostore import open_stores
from convostore.cli.progress import Watching, counting
from convostore.operations.sweeping import sweep_once


async def run(every: float | None, given: dict[str, Any], *, as_json: bool) -> bool:
    """Sweep once, or at an interval until interrupted, and print the counts of each sweep, in JSON as one line."""
    async with open_stores(**given, sweep_every=0) as stores:
        while True:
            await stores.audit.prepare_months()
            with counting("Sweeping sessions") as watch:
                demoted, deleted = await sweep_once(stores.sessions.with_interceptors(Watching("sweep", watch, sum)))
            counts = {"demoted": demoted, "deleted": deleted}
            typer.echo(json.dumps(counts) if as_json else f"{demoted:,} sessions demoted, {deleted:,} deleted.")
            if every is None:
                return True
            await asyncio.sleep(every)
