"""A configuration store on SQLite; docs/howto/add-a-backend.md builds it step by step."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any, Self, TypeVar
from uuid import UUID

from convostore.backends import (
    CONFIG,
    SCENARIO_ARCHIVE,
    Declaration,
    Model,
    Row,
    RowConfigStore,
    RowTable,
    Where,
    plain_value,
)
from convostore.errors import ConnectionError, StoreError

M = TypeVar("M", bound=Model)
T = TypeVar("T")


class Database:
    """A connection with a thread of its own, in which one transaction runs after the other."""

    def __init__(self, path: str) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._connection = sqlite3.connect(path, timeout=0.1, isolation_level=None, check_same_thread=False)
        for declaration in (*CONFIG, SCENARIO_ARCHIVE):
            for statement in schema(declaration):
                self.execute(statement)

    def execute(self, statement: str, **values: Any) -> list[Any]:
        """Execute a statement with named parameters, and return its rows."""
        plain = {name: plain_value(value) for name, value in values.items()}
        return self._connection.execute(statement, plain).fetchall()

    async def transaction(self, work: Callable[[], T]) -> T:
        """Run a function in a transaction, which is rolled back if the function raises."""

        def run() -> T:
            self.execute("BEGIN IMMEDIATE")
            with self._connection:
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()
        self._connection.close()


def schema(declaration: Declaration[Any]) -> Iterator[str]:
    """Yield what creates a table: each row is a document, from which SQLite computes a column per field."""
    fields = [name for name in declaration.columns if name != "deleted_at"]
    computed = [f"\"{name}\" AS (json_extract(document, '$.{name}'))" for name in fields]
    columns = ["document TEXT NOT NULL", "write_id TEXT NOT NULL", "deleted_at TEXT", *computed]
    key = ["tenant_id", *declaration.key]
    yield f'CREATE TABLE IF NOT EXISTS "{declaration.name}" ({", ".join(columns)})'
    yield f'CREATE UNIQUE INDEX IF NOT EXISTS "{declaration.name}_pkey" ON "{declaration.name}" ({", ".join(key)})'


def behind(position: list[tuple[str, bool]]) -> str:
    """Return the condition of the rows behind the cursor: larger in the first column in which they differ."""
    condition = "false"
    for name, descending in reversed(position):
        beyond = f'"{name}" {"<" if descending else ">"} :last_{name}'
        condition = f'({beyond} OR "{name}" = :last_{name} AND {condition})'
    return condition


class SqliteTable(RowTable[M]):
    """The rows of one declaration."""

    def __init__(self, declaration: Declaration[M], database: Database, clock: Callable[[], datetime]) -> None:
        super().__init__(declaration, clock)
        self._name = f'"{declaration.name}"'
        self._database = database

    async def transaction(self, work: Callable[[], T]) -> T:
        return await self._database.transaction(work)

    def select(
        self,
        tenant_id: UUID,
        where: Where,
        *,
        deleted: bool | None = False,
        limit: int | None = None,
        offset: int = 0,
        order: tuple[str, ...] | None = None,
        after: M | None = None,
    ) -> list[Row[M]]:
        position = [(column.removeprefix("-"), column.startswith("-")) for column in self._declaration.position(order)]
        values = {name: value for name, value in where.items() if value is not None}
        conditions = ["tenant_id = :tenant_id", *(f'"{name}" = :{name}' for name in values)]
        if deleted is not None:
            conditions.append("deleted_at IS NOT NULL" if deleted else "deleted_at IS NULL")
        if after is not None:
            conditions.append(behind(position))
            values |= {f"last_{name}": getattr(after, name) for name, _ in position}
        ordering = ", ".join(f'"{name}" {"DESC" if descending else "ASC"}' for name, descending in position)
        columns = ", ".join(["rowid", "document", "write_id", "deleted_at", *self._declaration.key])
        page = f"LIMIT {-1 if limit is None else limit} OFFSET {offset}"
        rows = self._database.execute(
            f"SELECT {columns} FROM {self._name} WHERE {' AND '.join(conditions)} ORDER BY {ordering} {page}",
            tenant_id=tenant_id,
            **values,
        )
        return [self._row(*row) for row in rows]

    def _row(self, handle: int, document: str, write_id: str, deleted_at: str | None, *key: Any) -> Row[M]:
        read = partial(self._declaration.codec.from_document, document, ", ".join(map(str, key)))
        return Row(handle, UUID(write_id), datetime.fromisoformat(deleted_at) if deleted_at else None, read)

    def put(self, item: M, write_id: UUID) -> None:
        document = self._declaration.codec.to_canonical(item)
        statement = f"INSERT OR REPLACE INTO {self._name} (document, write_id) VALUES (:document, :write_id)"
        self._database.execute(statement, document=document, write_id=write_id)

    def mark(self, row: Row[M], deleted_at: datetime | None, write_id: UUID) -> None:
        statement = f"UPDATE {self._name} SET deleted_at = :deleted_at, write_id = :write_id WHERE rowid = :handle"
        self._database.execute(statement, deleted_at=deleted_at, write_id=write_id, handle=row.handle)

    def remove(self, row: Row[M]) -> None:
        self._database.execute(f"DELETE FROM {self._name} WHERE rowid = :handle", handle=row.handle)


class SqliteConfigStore(RowConfigStore):
    """Agents and what belongs to them on SQLite."""

    system = "sqlite"

    def __init__(self, database: Database, **options: Any) -> None:
        super().__init__(**options)
        self._database = database

    def _table(self, declaration: Declaration[M]) -> SqliteTable[M]:
        return SqliteTable(declaration, self._database, self._clock)

    async def _ping(self) -> None:
        await self._database.transaction(lambda: None)

    def _translate(self, error: Exception) -> StoreError:
        if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorname == "SQLITE_BUSY":
            return ConnectionError("Another process is writing to the database.", code=error.sqlite_errorname)
        return super()._translate(error)
