"""`convostore sweep`: the sweep of `open_stores`, for cron or a process of its own."""

from __future__ import annotations

import asyncio
from typing import Any

from rich.console import Console

from convostore import open_stores
from convostore.operations.sweeping import sweep_once


async def run(console: Console, every: float | None, given: dict[str, Any]) -> bool:
    """Sweep once, or at an interval until interrupted, and print the counts."""
    async with open_stores(**given, sweep_every=0) as stores:
        while True:
            await stores.audit.prepare_months()
            demoted, deleted = await sweep_once(stores.sessions)
            console.print(f"{demoted:,} sessions demoted, {deleted:,} deleted.", highlight=False)
            if every is None:
                return True
            await asyncio.sleep(every)
