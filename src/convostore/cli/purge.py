"""`convostore purge`: what all tenants deleted is removed for good after a while, for cron."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

from convostore.cli.database import postgres_dsn
from convostore.cli.output import report
from convostore.cli.progress import counting
from convostore.models.fields import now
from convostore.postgres import create_pool, migrate
from convostore.postgres.pool import MAINTENANCE_ROLE
from convostore.postgres.purging import purge
from convostore.settings import load_settings


async def run(days: float, given: dict[str, Any], *, as_json: bool) -> bool:
    """Purge what was deleted longer ago than so many days, and print how many objects that were."""
    settings = load_settings(given)
    async with AsyncExitStack() as stack:
        dsn = await postgres_dsn(settings, stack)
        await migrate(dsn)
        made = await create_pool(dsn, max_size=1, role=MAINTENANCE_ROLE, pooler=settings.pooler)
        pool = await stack.enter_async_context(made)
        purged = 0
        with counting("Purging") as watch:
            async for count in purge(pool, before=now() - timedelta(days=days)):
                purged += count
                watch(count)
    report(f"{purged:,} deleted objects purged.", as_json=as_json, purged=purged)
    return True
