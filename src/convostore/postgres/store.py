"""What the PostgreSQL stores share: a database and their tables."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Self, TypeVar, cast

import asyncpg

from convostore.call.deadlines import DEFAULT_TIMEOUT
from convostore.call.health import BackendHealth
from convostore.call.store import Store
from convostore.domain.declaration import Declaration
from convostore.errors import ConnectionError
from convostore.models.base import Model
from convostore.models.fields import now
from convostore.postgres.checking import acts_as
from convostore.postgres.database import Database
from convostore.postgres.pool import APPLICATION_ROLE
from convostore.postgres.table import PostgresTable

M = TypeVar("M", bound=Model)

_FACTS = f"""
SELECT current_setting('server_version') AS version, current_user::text AS role, version_num AS schema,
    {acts_as("current_user")} AS acts_as,
    pg_is_in_recovery() AS standby, current_setting('transaction_read_only') = 'on' AS read_only
FROM convostore.alembic_version
"""  # noqa: S608
_STANDBY = "PostgreSQL is a standby; name the primary in the URL, or all of them and ?target_session_attrs=read-write."
_READ_ONLY = "Transactions are read-only; ALTER ROLE the user, or DATABASE, SET default_transaction_read_only = off."


class PostgresStore(Store):
    """A store on a connection pool, which it never closes.

    Args:
        pool: from `create_pool`, or any asyncpg pool whose connections run as the role `convostore_app`.
        timeout: the deadline of a call, in seconds.
        clock: returns the current time, aware.
        coalesce: whether concurrent calls of one kind travel together.
        options: of what is written above tables.
    """

    system = "postgresql"
    connected = True

    def __init__(
        self,
        pool: asyncpg.Pool[Any],
        *,
        timeout: float = DEFAULT_TIMEOUT,
        clock: Callable[[], datetime] = now,
        coalesce: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(timeout=timeout, clock=clock, **options)
        self._database = Database(pool, coalesce=coalesce)
        self._tables: dict[str, PostgresTable[Any]] = {}
        self._pooled: Self | None = None

    def _on(self, database: Database) -> Self:
        """Return the store on another database, a transaction, with the same tables."""
        twin = self._twin()
        twin._database, twin._pooled = database, self
        return twin

    def _table(self, declaration: Declaration[M]) -> PostgresTable[M]:
        if self._pooled is not None:
            return self._pooled._table(declaration).on(self._database)
        if declaration.name not in self._tables:
            self._tables[declaration.name] = PostgresTable(declaration, self._database, self._clock)
        return cast("PostgresTable[M]", self._tables[declaration.name])

    async def _ping(self) -> None:
        await self._database.fetchval("SELECT 1")

    async def _health(self) -> dict[str, BackendHealth]:
        return {"postgres": await self._examined(self._look, self._report)}

    async def _look(self) -> asyncpg.Record:
        """Ask what the server is, with what a statement of the stores needs.

        Raises:
            ConnectionError: it takes no writes.
        """
        (row,) = await self._database.fetch(_FACTS)
        if row["read_only"]:
            standby: bool = row["standby"]
            raise ConnectionError(_STANDBY if standby else _READ_ONLY, retryable=standby, code="25006")
        return row

    def _report(self, row: asyncpg.Record) -> BackendHealth:
        pool, problem = self._database.pool, None
        if row["acts_as"] != [APPLICATION_ROLE]:
            problem = f"Statements run as {row['role']} instead of {APPLICATION_ROLE}; see convostore doctor."
        return BackendHealth(
            ok=problem is None,
            problem=problem,
            connections=pool.get_size(),
            in_use=pool.get_size() - pool.get_idle_size(),
            pool_size=pool.get_max_size(),
            version=row["version"],
            role=row["role"],
            schema=row["schema"],
        )
