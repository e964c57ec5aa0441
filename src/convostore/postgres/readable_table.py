"""The reads of the table gateway on PostgreSQL: single rows, pages, counts."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from datetime import datetime
from typing import Any, Self, TypeVar
from uuid import UUID

import asyncpg

from convostore.domain.declaration import Declaration
from convostore.gateway.table import Table, Where
from convostore.models.base import Model
from convostore.postgres.database import Database
from convostore.postgres.mapping import RowMapping
from convostore.postgres.pages import page
from convostore.postgres.statements import Statements, split

M = TypeVar("M", bound=Model)


class ReadableTable(Table[M]):
    """The rows of one declaration, as far as they are read."""

    def __init__(self, declaration: Declaration[M], database: Database, clock: Callable[[], datetime]) -> None:
        self._declaration = declaration
        self._database = database
        self._clock = clock
        self.mapping = RowMapping(declaration)
        self._statements = self._make_statements(declaration, self.mapping)

    def on(self, database: Database, clock: Callable[[], datetime] | None = None) -> Self:
        """Return the table on another database, such as a transaction, and with another clock."""
        if database is self._database:
            return self
        twin = copy(self)
        twin._database, twin._clock = database, clock or self._clock
        return twin

    def _make_statements(self, declaration: Declaration[M], mapping: RowMapping[M]) -> Statements:
        """Return the generator of the table's statements."""
        return Statements(declaration, mapping)

    async def get(self, tenant_id: UUID, **where: Any) -> M | None:
        row = await self._database.fetchrow_together(*self.getting(tenant_id, **where))
        return self.mapping.model(row, tenant_id) if row else None

    def getting(self, tenant_id: UUID, **where: Any) -> tuple[Any, ...]:
        """Return the statement of `get`, with its arguments."""
        shape, values = split(where)
        return self._statements.get(shape), tenant_id, *values

    async def find(
        self,
        tenant_id: UUID,
        where: Where,
        *,
        limit: int | None = None,
        offset: int = 0,
        order: tuple[str, ...] | None = None,
        after: M | None = None,
    ) -> list[M]:
        shape, values = split(where)
        position = tuple(column.removeprefix("-") for column in self._declaration.position(order))

        async def fetch(last: list[Any], offset: int) -> list[asyncpg.Record]:
            statement = self._statements.select(shape, order, after=bool(last))
            return await self._database.fetch(statement, tenant_id, *values, limit, offset, *last)

        return await page(
            fetch,
            self.mapping.reader(tenant_id),
            lambda row: [row[column] for column in position],
            after=[] if after is None else self.mapping.parameters(after, position),
            limit=limit,
            offset=offset,
        )

    async def count(self, tenant_id: UUID, where: Where) -> int:
        shape, values = split(where)
        count: int = await self._database.fetchval(self._statements.count(shape), tenant_id, *values)
        return count
