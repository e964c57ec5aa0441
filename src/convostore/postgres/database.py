"""Runs statements on a pool: driver errors become store errors, and a cancelled call aborts its connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from enum import Enum
from typing import Any
from weakref import WeakKeyDictionary

import asyncpg

from convostore.call.call import Call, current_call, running
from convostore.call.deadlines import DEFAULT_TIMEOUT
from convostore.call.metrics import PoolUse, Waiting, watch_pool
from convostore.errors import StoreError
from convostore.postgres import driver
from convostore.postgres.checking import check_session_ids, patience_of, prepare, set_patience
from convostore.postgres.errors import translated
from convostore.postgres.gathering import GatheredReads, GatheredWrites, Present
from convostore.postgres.tenancy import asked, distributed


class _Marker(Enum):
    DEADLINE = "deadline"


DEADLINE = _Marker.DEADLINE
"""Stands among the parameters of a statement for the deadline of the running call."""

_TOO_PATIENT = 60
"""How many times as long as the running call may wait a connection's patience may be before it is set anew."""


class Database:
    """Runs statements on a pool that it does not own.

    Args:
        pool: the pool.
        coalesce: whether concurrent calls by one statement travel together.
    """

    def __init__(self, pool: asyncpg.Pool[Any], *, coalesce: bool = True) -> None:
        self.pool = pool
        self._coalesces = coalesce
        self._reads: dict[str, GatheredReads] = {}
        self._writes: dict[str, GatheredWrites] = {}
        watch_pool("postgres", self, lambda database: database.pool, _use)
        self._patience: WeakKeyDictionary[Any, float] = WeakKeyDictionary()
        self._clocks: WeakKeyDictionary[Any, tuple[datetime, float]] = WeakKeyDictionary()

    by_tenant: bool | None = None
    """Whether the database must keep session ids unique per tenant alone, or across tenants; None for either."""

    _distributed: bool | None = None
    """Whether tables are distributed by tenant; None before the first connection."""

    in_transaction = False
    """Whether all statements belong to one transaction."""

    _coalesces = False
    _pipelines = False
    """Whether the server of the latest connection ends a transaction whose client has vanished within a pipeline."""

    def _lend(self) -> AbstractAsyncContextManager[Any]:
        """Return a block that has a connection."""
        return _Lent(self)

    async def is_distributed(self) -> bool:
        """Return whether tables are distributed by tenant, which the check of a connection finds."""
        if self._distributed is None:
            async with self._lend():
                pass
        return bool(self._distributed)

    def form(self, statement: str) -> str:
        """Return the form in which a statement is sent; a connection has been checked by then."""
        return distributed(statement) if self._distributed else statement

    async def fetch(self, statement: str, *parameters: Any) -> list[asyncpg.Record]:
        """Run a statement and return its rows."""
        async with self._lend() as connection:
            if self._distributed and (split := asked(statement)):
                found = await connection.fetch(split.call, *(parameters[number - 1] for number in split.given))
                columns = ([row[name] for row in found] for name in split.columns)
                statement, parameters = split.statement, (*(parameters[n - 1] for n in split.kept), *columns)
            rows: list[asyncpg.Record] = await connection.fetch(self.form(statement), *parameters)
            return rows

    async def fetchrow(self, statement: str, *parameters: Any) -> asyncpg.Record | None:
        """Run a statement and return its first row, or None."""
        async with self._lend() as connection:
            row: asyncpg.Record | None = await connection.fetchrow(self.form(statement), *parameters)
            return row

    def fetchrow_together(self, statement: str, *parameters: Any) -> Awaitable[asyncpg.Record | None]:
        """As `fetchrow` of a statement that reads at most one row, together with concurrent calls of it."""
        if not self._coalesces or self._distributed is not False:
            # A statement of several tenants would leave the shard of each; before the first connection nobody knows.
            return self.fetchrow(statement, *parameters)
        reads = self._reads.get(statement)
        if reads is None:
            reads = self._reads[statement] = GatheredReads(self, statement)
        return reads.call(parameters)

    def write_together(
        self, key: tuple[Any, ...], statement: str, *parameters: Any
    ) -> Awaitable[asyncpg.Record | None]:
        """As `fetchrow_in_time` of a statement that returns at most one row, together with concurrent calls of it.

        Args:
            key: of what the statement locks, its tenant first.
            statement: ends with what it returns, or selects from a function.
            parameters: its parameters.
        """
        if not (self._coalesces and self._pipelines):
            return self.fetchrow_in_time(statement, *parameters)
        writes = self._writes.get(statement)
        if writes is None:
            writes = self._writes[statement] = GatheredWrites(self, statement)
        return writes.call(parameters, key)

    async def fetchrow_in_time(self, statement: str, *parameters: Any) -> asyncpg.Record | None:
        """Run a statement and return its first row, or None; `DEADLINE` becomes the call's, by the server's clock."""
        if DEADLINE in parameters and await self.is_distributed():
            # The end of a transaction compares it.
            given = [parameter for parameter in parameters if parameter is not DEADLINE]
            async with self.transaction() as connection:
                found: asyncpg.Record | None = await connection.fetchrow(distributed(statement), *given)
            return found
        async with self._lend() as connection:
            until = self._deadline(connection, current_call())
            given = [until if parameter is DEADLINE else parameter for parameter in parameters]
            row: asyncpg.Record | None = await connection.fetchrow(self.form(statement), *given)
            return row

    async def fetch_in_time(self, statement: str, present: Present) -> list[asyncpg.Record]:
        """Run a statement for each of several calls, pipelined in one transaction; return the rows of all.

        Which calls these are is asked when there is a connection. `DEADLINE` becomes that of the call that ends first:
        its guard does not outlast it, and all commit at once.
        """
        async with self._lend() as connection:
            if not driver.pipelines(connection):
                raise StoreError("PostgreSQL 16 ends no pipeline whose client has vanished")
            if not (sent := present()):
                return []
            for call, _ in sent:
                call.sent = True
            until = self._deadline(connection, min((call for call, _ in sent), key=lambda call: call.deadline))
            each = [[until if parameter is DEADLINE else parameter for parameter in given] for _, given in sent]
            return await driver.fetch_pipelined(connection, statement, each)

    async def fetchval(self, statement: str, *parameters: Any) -> Any:
        """Run a statement and return the first column of its first row, or None."""
        async with self._lend() as connection:
            return await connection.fetchval(self.form(statement), *parameters)

    async def fetch_pipelined(self, statement: str, each: Iterable[Sequence[Any]]) -> list[asyncpg.Record]:
        """Run a statement for each of several argument lists, pipelined in one transaction; return the rows of all."""
        async with self._lend() as connection:
            return await driver.fetch_pipelined(connection, self.form(statement), each)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """Run statements on one connection in a transaction, which commits before the running call's deadline."""
        async with self._lend() as connection:
            await connection.execute("BEGIN")
            try:
                yield connection
                until = self._deadline(connection, current_call()).isoformat()
                # In one round trip: no pause of this process comes between the two.
                await connection.execute(f"SELECT convostore.in_time('{until}'); COMMIT")
            except Exception:
                try:
                    await connection.execute("ROLLBACK")
                except Exception:  # noqa: BLE001  (what came before says more)
                    driver.abort(connection)
                raise

    async def _acquired(self) -> Any:
        """Return a connection that is ready for a statement. Whatever fails here, the statement was not sent."""
        connection = None
        try:
            with Waiting("postgres"):
                connection = await driver.acquire(self.pool)
            await self._make_ready(connection)
        except BaseException as failure:
            driver.give_up_connecting(failure)
            if connection is not None:
                driver.abort(connection)
                await driver.release(self.pool, connection)
            if not isinstance(failure, Exception):
                raise
            error = translated(failure)
            error.outcome = "not_applied"
            if error is failure:
                raise
            raise error from failure
        return connection

    def _deadline(self, connection: Any, call: Call) -> datetime:
        """Return when a call must have ended, by the server's clock, or somewhat earlier."""
        server_time, heard_at = self._clocks[driver.physical(connection)]
        return server_time + timedelta(seconds=call.deadline - heard_at)

    async def _make_ready(self, connection: Any) -> None:
        """Check a new connection, and let its statements wait for as long as the running call may."""
        physical, call = driver.physical(connection), running.get()
        known, patience = self._patience.get(physical), patience_of(call)
        if known is not None and (call is None or driver.pooler_of(connection) == "transaction"):
            return
        if known is None:
            found = await prepare(connection, patience)
            check_session_ids(self.by_tenant, found.sessions_by_tenant)
            self._distributed = found.distributed
            self._clocks[physical] = found.server_time, asyncio.get_running_loop().time()
            self._pipelines = driver.pipelines(connection) and not found.distributed
        elif patience > known or known > _TOO_PATIENT * max(patience, DEFAULT_TIMEOUT):
            await set_patience(connection, patience)
        else:
            return
        self._patience[physical] = patience


class _Lent:
    """Lends a connection to a block, as a class because every statement needs it: a generator costs twice as much.

    If the block is cancelled, the connection is aborted.

    Raises:
        StoreError: what the driver's error means.
    """

    __slots__ = ("_connection", "_database")

    def __init__(self, database: Database) -> None:
        self._database = database

    async def __aenter__(self) -> Any:
        self._connection = await self._database._acquired()
        if (call := running.get()) is not None:
            call.sent = True
        return self._connection

    async def __aexit__(self, _: object, failure: BaseException | None, __: object) -> None:
        try:
            if isinstance(failure, asyncio.CancelledError):
                driver.abort(self._connection)
            elif isinstance(failure, Exception):
                if isinstance(failure, asyncpg.InternalServerError):
                    # A statement that was prepared while a migration dropped a function names that one for ever.
                    await self._connection.reload_schema_state()
                error = translated(failure, lost=driver.is_lost(self._connection))
                if self._database._distributed and error.code == "57014":
                    error.outcome = "unknown"  # A node may have committed before it was cancelled, too.
                raise error from failure
        finally:
            await driver.release(self._database.pool, self._connection)


def _use(pool: asyncpg.Pool[Any]) -> PoolUse:
    if pool.is_closing():
        return PoolUse(0, 0, 0)
    idle = pool.get_idle_size()
    return PoolUse(pool.get_size() - idle, idle, pool.get_max_size())
