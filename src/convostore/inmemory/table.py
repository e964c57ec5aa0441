"""The rows of one declaration in dictionaries: the executable definition of the table gateway."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Generic, TypeVar
from uuid import UUID

from convostore.domain.declaration import Declaration, tenant_of
from convostore.gateway.rows import Row, RowTable
from convostore.gateway.table import NotEnded, Started, Where, Window
from convostore.models.base import Model

M = TypeVar("M", bound=Model)
T = TypeVar("T")


@dataclass
class InMemoryRow(Generic[M]):
    """A stored item, the id of the call that last wrote or deleted it, and when it was deleted."""

    item: M
    write_id: UUID
    deleted_at: datetime | None = None


class InMemoryTable(RowTable[M]):
    """The rows of one declaration, by tenant and key. Items go in and come out as copies."""

    def __init__(
        self,
        declaration: Declaration[M],
        clock: Callable[[], datetime],
        tables: Mapping[str, InMemoryTable[Any]],
    ) -> None:
        super().__init__(declaration, clock, tables)
        self._rows: dict[UUID, dict[tuple[Any, ...], InMemoryRow[M]]] = {}

    async def transaction(self, work: Callable[[], T]) -> T:
        # Nothing is awaited meanwhile, and nothing is written before everything is checked.
        return work()

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
        found = [
            row
            for row in self._matching(tenant_id, where)
            if deleted is None or deleted == (row.deleted_at is not None)
        ]
        position = self._declaration.position(order)
        if after is not None:
            found = [row for row in found if _follows(row.item, after, position)]
        for column in reversed(position):
            found.sort(key=_value_of(column.removeprefix("-")), reverse=column.startswith("-"))
        return [Row(row, row.write_id, row.deleted_at, partial(copied, row.item)) for row in found[offset:][:limit]]

    def put(self, item: M, write_id: UUID) -> None:
        rows = self._rows.setdefault(tenant_of(item), {})
        rows[self._declaration.key_of(item)] = InMemoryRow(copied(item), write_id)

    def mark(self, row: Row[M], deleted_at: datetime | None, write_id: UUID) -> None:
        row.handle.deleted_at, row.handle.write_id = deleted_at, write_id

    def remove(self, row: Row[M]) -> None:
        item: M = row.handle.item
        del self._rows[tenant_of(item)][self._declaration.key_of(item)]

    def kept(self, item: M) -> Callable[[], None]:
        """Return what restores the row with an item's key as it is now."""
        rows, key = self._rows.setdefault(tenant_of(item), {}), self._declaration.key_of(item)
        row = rows.get(key)

        def restore() -> None:
            rows.pop(key, None)
            if row is not None:
                rows[key] = row

        return restore

    def rows(self) -> list[InMemoryRow[M]]:
        """Return all rows of all tenants, for what an operator does."""
        return [row for rows in self._rows.values() for row in rows.values()]

    def living(self, tenant_id: UUID, where: Where) -> Iterator[InMemoryRow[M]]:
        """Yield the rows with these values that are not deleted."""
        return (row for row in self._matching(tenant_id, where) if row.deleted_at is None)

    def _matching(self, tenant_id: UUID, where: Where) -> list[InMemoryRow[M]]:
        """Return a tenant's rows with these values: a dictionary access if they name the key, else a scan."""
        rows = self._rows.get(tenant_id, {})
        key = tuple(where.get(name) for name in self._declaration.key)
        named = list(rows.values()) if None in key else [rows[key]] if key in rows else []
        return [row for row in named if has(row.item, where)]


def copied(item: M) -> M:
    """Return a deep copy."""
    return item.model_copy(deep=True)


def has(item: Model, where: Mapping[str, Any]) -> bool:
    """Return whether an item has these values."""
    return all(_fits(getattr(item, name), wanted) for name, wanted in where.items() if wanted is not None)


def _value_of(column: str) -> Callable[[InMemoryRow[Any]], Any]:
    return lambda row: getattr(row.item, column)


def _follows(item: Model, last: Model, position: tuple[str, ...]) -> bool:
    for column in position:
        name = column.removeprefix("-")
        value, bound = getattr(item, name), getattr(last, name)
        if value != bound:
            return bool(value < bound if column.startswith("-") else value > bound)
    return False


def _fits(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Window):
        after = wanted.since is None or value >= wanted.since
        return after and (wanted.until is None or value < wanted.until)
    if isinstance(wanted, Started):
        return value is None or value <= wanted.at
    if isinstance(wanted, NotEnded):
        return value is None or value > wanted.at
    return bool(value == wanted)
