"""Upkeep of all tenants in bounded batches, by indexes: purges of what was deleted softly, and expiry of fields."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from convostore.postgres.config import PostgresConfigStore
from convostore.postgres.database import Database
from convostore.postgres.errors import translated
from convostore.postgres.profile import PostgresProfileStore

_TO_PURGE = "SELECT * FROM convostore.tenants_to_purge($1) ORDER BY 1"
_STALE = "SELECT * FROM convostore.tenants_with_stale_fields($1) ORDER BY 1"


async def purge(pool: asyncpg.Pool[Any], *, before: datetime, batch: int = 1_000) -> AsyncGenerator[int, None]:
    """Remove for good what any tenant deleted before a moment; yield the number of objects of each batch.

    Only tenants that have something to purge are visited, those of what was deleted first at first. Each batch is two
    transactions, configuration and profiles; a purge may end after any: the next goes on. It ends when nothing is left.

    Args:
        pool: of connections as `convostore_maintenance`.
        before: the moment, aware.
        batch: the maximum number of objects of each kind in a batch, 1 to 1,000.

    Raises:
        StoreError: a batch fails; those before it stay.
    """
    stores = PostgresConfigStore(pool), PostgresProfileStore(pool)

    async def purge_one(tenant: UUID) -> int:
        return sum([await store.purge_deleted(tenant, before=before, limit=batch) for store in stores])

    async for count in _all_tenants(pool, _TO_PURGE, before, purge_one):
        yield count


async def expire(pool: asyncpg.Pool[Any], *, at: datetime, batch: int = 1_000) -> AsyncGenerator[int, None]:
    """Let the fields of any tenant's profiles expire whose time has come; yield the number of each batch. As `purge`.

    Args:
        pool: of connections as `convostore_maintenance`.
        at: up to which moment, inclusive, aware.
        batch: the maximum number of fields in a batch, 1 to 1,000.

    Raises:
        StoreError: a batch fails; those before it stay.
    """
    profiles = PostgresProfileStore(pool)
    async for count in _all_tenants(
        pool, _STALE, at, lambda tenant: profiles.expire_stale_fields(tenant, at=at, limit=batch)
    ):
        yield count


async def _all_tenants(
    pool: asyncpg.Pool[Any], due: str, moment: datetime, work: Callable[[UUID], Awaitable[int]]
) -> AsyncGenerator[int, None]:
    """Do work for the tenants that a statement names, until it finds nothing to do for any; yield its counts."""
    database, done = Database(pool), True
    while done:
        try:
            tenants = [tenant for (tenant,) in await database.fetch(due, moment)]
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise translated(error) from error
        done = False
        for tenant in tenants:
            if count := await work(tenant):
                done = True
                yield count
