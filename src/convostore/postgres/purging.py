"""Purges of all tenants: what was deleted softly is removed for good, in bounded batches, by indexes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any

import asyncpg

from convostore.postgres.config import PostgresConfigStore
from convostore.postgres.database import Database
from convostore.postgres.errors import translated
from convostore.postgres.profile import PostgresProfileStore

_TENANTS = "SELECT * FROM convostore.tenants_to_purge($1) ORDER BY 1"


async def purge(pool: asyncpg.Pool[Any], *, before: datetime, batch: int = 1_000) -> AsyncGenerator[int, None]:
    """Remove for good what any tenant deleted before a moment; yield the number of objects of each batch.

    Only tenants that have something to purge are visited, those of what was deleted first at first. Each batch is a
    transaction of its own, so a purge may end after any of them: the next one goes on. It ends when nothing is left.

    Args:
        pool: of connections as `convostore_maintenance`.
        before: the moment, aware.
        batch: the maximum number of objects of each kind in a batch, 1 to 1,000.

    Raises:
        StoreError: a batch fails; those before it stay.
    """
    stores, database = (PostgresConfigStore(pool), PostgresProfileStore(pool)), Database(pool)
    done = True
    while done:
        try:
            tenants = [tenant for (tenant,) in await database.fetch(_TENANTS, before)]
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise translated(error) from error
        done = False
        for tenant in tenants:
            for store in stores:
                if purged := await store.purge_deleted(tenant, before=before, limit=batch):
                    done = True
                    yield purged
