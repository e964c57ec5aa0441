"""Runs statements on a pool: driver errors become store errors, and a cancelled call aborts its connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakSet

import asyncpg

from convostore.postgres import driver
from convostore.postgres.errors import translated
from convostore.postgres.pool import prepare


class Database:
    """Runs statements on a pool that it does not own."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool
        self._prepared: WeakSet[Any] = WeakSet()

    async def fetch(self, statement: str, *parameters: Any) -> list[asyncpg.Record]:
        """Run a statement and return its rows."""
        async with self._connection() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(statement, *parameters)
            return rows

    async def fetchrow(self, statement: str, *parameters: Any) -> asyncpg.Record | None:
        """Run a statement and return its first row, or None."""
        async with self._connection() as connection:
            row: asyncpg.Record | None = await connection.fetchrow(statement, *parameters)
            return row

    async def fetchval(self, statement: str, *parameters: Any) -> Any:
        """Run a statement and return the first column of its first row, or None."""
        async with self._connection() as connection:
            return await connection.fetchval(statement, *parameters)

    async def fetch_pipelined(self, statement: str, each: Iterable[Sequence[Any]]) -> list[asyncpg.Record]:
        """Run a statement for each of several argument lists, pipelined in one transaction; return the rows of all."""
        async with self._connection() as connection:
            return await driver.fetch_pipelined(connection, statement, each)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """Run statements on one connection in a transaction."""
        async with self._connection() as connection:
            await connection.execute("BEGIN")
            try:
                yield connection
            except Exception:
                await connection.execute("ROLLBACK")
                raise
            await connection.execute("COMMIT")

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        try:
            async with self._pool.acquire() as connection:
                try:
                    await self._ensure_prepared(connection)
                    yield connection
                except asyncio.CancelledError:
                    driver.abort(connection)
                    raise
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise translated(error) from error

    async def _ensure_prepared(self, connection: Any) -> None:
        if (physical := driver.physical(connection)) not in self._prepared:
            await prepare(connection)
            self._prepared.add(physical)
