"""A database whose statements belong to one transaction, of which a refused statement leaves the others as they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

from convostore.postgres import driver
from convostore.postgres.database import Database
from convostore.postgres.errors import translated


class Transaction(Database):
    """Runs statements on one connection, each behind a savepoint.

    Args:
        database: whose connection it is.
        connection: has begun a transaction.
    """

    in_transaction = True

    def __init__(self, database: Database, connection: Any) -> None:
        self.pool = database.pool
        self._clocks = database._clocks
        self._distributed = database._distributed
        self._connection = connection
        # Within another transaction a name of its own: the savepoint of that one must stay reachable.
        self._step: str = f"{database._step}_" if isinstance(database, Transaction) else "step"
        self._began = False

    def _lend(self) -> AbstractAsyncContextManager[Any]:
        return self._savepoint()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        async with self._savepoint() as connection:
            yield connection

    @asynccontextmanager
    async def _savepoint(self) -> AsyncIterator[Any]:
        connection, step = self._connection, self._step
        # One at a time: more than 64 slow down all other transactions.
        await connection.execute(f"RELEASE SAVEPOINT {step}; SAVEPOINT {step}" if self._began else f"SAVEPOINT {step}")
        self._began = True
        try:
            yield connection
        except asyncio.CancelledError:
            raise
        except Exception as failure:
            error = translated(failure, lost=driver.is_lost(connection))
            # If that is refused, so is everything that follows.
            with suppress(Exception):
                await connection.execute(f"ROLLBACK TO SAVEPOINT {step}")
            if error is failure:
                raise
            raise error from failure


@asynccontextmanager
async def in_transaction(database: Database) -> AsyncIterator[Transaction]:
    """Give a block a database whose statements are committed at its end, or not at all."""
    async with database.transaction() as connection:
        yield Transaction(database, connection)
