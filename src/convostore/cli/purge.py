"""`convostore purge` and `convostore expire`: upkeep of all tenants, in batches, for cron."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

from convostore.cli.database import postgres_dsn
from convostore.cli.output import report
from convostore.cli.progress import counting
from convostore.models.fields import now
from convostore.postgres import create_pool, migrate
from convostore.postgres.pool import MAINTENANCE_ROLE
from convostore.postgres.purging import expire, purge
from convostore.settings import load_settings


async def run(days: float, given: dict[str, Any], *, as_json: bool) -> bool:
    """Purge what was deleted longer ago than so many days, and print how many objects that were."""
    purged = await _done("Purging", lambda pool: purge(pool, before=now() - timedelta(days=days)), given)
    report(f"{purged:,} deleted objects purged.", as_json=as_json, purged=purged)
    return True


async def run_expiry(given: dict[str, Any], *, as_json: bool) -> bool:
    """Let fields expire whose time has come, and print how many that were."""
    expired = await _done("Expiring fields", lambda pool: expire(pool, at=now()), given)
    report(f"{expired:,} fields expired.", as_json=as_json, expired=expired)
    return True


async def _done(what: str, work: Callable[[Any], AsyncIterator[int]], given: dict[str, Any]) -> int:
    """Do work in batches on a pool, showing their counts, and return the sum."""
    settings = load_settings(given)
    async with AsyncExitStack() as stack:
        dsn = await postgres_dsn(settings, stack)
        await migrate(dsn)
        made = await create_pool(dsn, max_size=1, role=MAINTENANCE_ROLE, pooler=settings.pooler)
        pool, done = await stack.enter_async_context(made), 0
        with counting(what) as watch:
            async for count in work(pool):
                done += count
                watch(count)
    return done
