"""Locks held by somebody else, so that a store's call waits for as long as a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from convostore.postgres import create_pool
from convostore.postgres.pool import APPLICATION_ROLE
from tests.postgres.databases import connected


class Blocker:
    """Another connection that holds a lock until it is let go."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._transaction = connection.transaction()

    async def hold(self, statement: str, *parameters: Any) -> None:
        """Take locks by a statement."""
        await self._transaction.start()
        await self._connection.execute(statement, *parameters)

    async def let_go(self) -> None:
        """Release what is held."""
        await self._transaction.rollback()


@asynccontextmanager
async def blocking(dsn: str, statement: str, *parameters: Any) -> AsyncIterator[Blocker]:
    """Hold the locks that a statement takes; let go at the latest with the connection."""
    async with connected(dsn) as connection:
        blocker = Blocker(connection)
        await blocker.hold(statement, *parameters)
        yield blocker


async def waiting(admin: Any, *pids: int) -> None:
    """Return when backends wait for a lock."""
    async with asyncio.timeout(20):
        while await admin.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY ($1) AND wait_event_type = 'Lock'", pids
        ) != len(pids):
            pass


async def gone(admin: Any, pid: int) -> None:
    """Return when a backend has ended."""
    async with asyncio.timeout(20):
        while await admin.fetchval("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)", pid):
            pass


@asynccontextmanager
async def single(dsn: str, **settings: str) -> AsyncIterator[tuple[asyncpg.Pool[Any], int]]:
    """A pool of one connection, with these settings, and the pid of its backend."""
    if settings:
        opening = asyncpg.create_pool(
            dsn, min_size=0, max_size=1, server_settings={"role": APPLICATION_ROLE, **settings}
        )
    else:
        opening = await create_pool(dsn, max_size=1)
    async with opening as pool:
        yield pool, await pool.fetchval("SELECT pg_backend_pid()")
