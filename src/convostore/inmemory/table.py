"""The rows of one declaration in dictionaries: the executable definition of the table gateway."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from convostore.call.call import current_call
from convostore.domain.declaration import Declaration, tenant_of
from convostore.domain.revisions import (
    StoredRevision,
    check_distinct,
    check_save,
    deduplicated,
    key_conflict,
    managed_values,
    same_content,
    set_managed,
    unique_conflict,
)
from convostore.errors import NotFoundError, StoreError
from convostore.gateway.table import NotEnded, Started, Table, Where, Window
from convostore.models.base import Model

M = TypeVar("M", bound=Model)

Key = tuple[Any, ...]
"""The values of a row's key, without its tenant."""


@dataclass
class Row(Generic[M]):
    """A stored item, the id of the call that last wrote or deleted it, and when it was deleted."""

    item: M
    write_id: UUID
    deleted_at: datetime | None = None


class InMemoryTable(Table[M]):
    """The rows of one declaration, by tenant and key. Items go in and come out as copies."""

    def __init__(
        self,
        declaration: Declaration[M],
        clock: Callable[[], datetime],
        tables: Mapping[str, InMemoryTable[Any]],
    ) -> None:
        self._declaration = declaration
        self._clock = clock
        self._tables = tables
        self._rows: dict[UUID, dict[Key, Row[M]]] = {}

    async def get(self, tenant_id: UUID, **where: Any) -> M | None:
        return next((copied(row.item) for row in self.living(tenant_id, where)), None)

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
        found = ordered((row.item for row in self.living(tenant_id, where)), self._declaration, order)
        if after is not None:
            found = [item for item in found if _follows(item, after, self._declaration.position(order))]
        return [copied(item) for item in found[offset:][:limit]]

    async def count(self, tenant_id: UUID, where: Where) -> int:
        return sum(1 for _ in self.living(tenant_id, where))

    async def add(self, item: M) -> None:
        row = self._stored(item)
        if row is None:
            self._check_parents(item)
            self.check_unique(item)
            if self._declaration.revisioned:
                set_managed(item, **managed_values(item, revision=0, created_at=None, now=self._clock()))
            self._put(item)
        elif row.deleted_at is None and same_content(row.item, item, self._declaration):
            set_managed(item, **{name: getattr(row.item, name) for name in item.store_managed})
        else:
            raise key_conflict(self._declaration, self._declaration.key_of(item))

    async def add_all(self, items: Sequence[M]) -> None:
        if not deduplicated(items, self._declaration):
            return
        tenant_id = tenant_of(items[0])
        before = dict(self._of(tenant_id))
        try:
            # New rows first: a missing parent is reported before a key that exists.
            for item in sorted(items, key=lambda item: self._declaration.key_of(item) in before):
                await self.add(item)
        except StoreError:
            self._rows[tenant_id] = before
            raise

    async def save(self, item: M, *, overwrite: bool) -> None:
        await self.save_all([item], overwrite=overwrite)

    async def save_all(self, items: Sequence[M], *, overwrite: bool) -> None:
        check_distinct(items, self._declaration)
        moment = self._clock()
        for item in items:
            self._check_save(item, overwrite=overwrite)
        for item in items:
            row = self._stored(item)
            revision = 0 if row is None else _revision(row.item)
            created_at = None if row is None else getattr(row.item, "created_at", None)
            set_managed(item, **managed_values(item, revision=revision, created_at=created_at, now=moment))
            self._put(item)

    async def delete(self, tenant_id: UUID, **where: Any) -> bool:
        return self.delete_all(tenant_id, where) > 0

    async def restore(self, tenant_id: UUID, **where: Any) -> bool:
        row = self.deleted(tenant_id, where)
        if row is None:
            return False
        self.check_unique(row.item)
        row.deleted_at = None
        return True

    async def purge(self, tenant_id: UUID, before: datetime) -> int:
        old = [row for row in self._matching(tenant_id, {}) if row.deleted_at is not None and row.deleted_at < before]
        for row in old:
            self._remove(row)
        return len(old)

    def rows(self) -> list[Row[M]]:
        """Return all rows of all tenants, for what an operator does."""
        return [row for rows in self._rows.values() for row in rows.values()]

    def living(self, tenant_id: UUID, where: Where) -> Iterator[Row[M]]:
        """Yield the rows with these values that are not deleted."""
        return (row for row in self._matching(tenant_id, where) if row.deleted_at is None)

    def delete_all(self, tenant_id: UUID, where: Where) -> int:
        """Delete the rows with these values, softly if so declared; return how many."""
        rows = list(self.living(tenant_id, where))
        for row in rows:
            if self._declaration.soft_delete:
                row.deleted_at, row.write_id = self._clock(), current_call().write_id
            else:
                self._remove(row)
        return len(rows)

    def deleted(self, tenant_id: UUID, where: Where) -> Row[M] | None:
        """Return the row with these values that was deleted last, or None."""
        rows = [row for row in self._matching(tenant_id, where) if row.deleted_at is not None]
        return max(rows, key=lambda row: (row.deleted_at, self._declaration.key_of(row.item)), default=None)

    def written_by(self, tenant_id: UUID, write_id: UUID) -> list[Row[M]]:
        """Return the rows that one call wrote, deleted or restored last."""
        return [row for row in self._matching(tenant_id, {}) if row.write_id == write_id]

    def _check_save(self, item: M, *, overwrite: bool) -> None:
        row = self._stored(item)
        stored = None if row is None else StoredRevision(_revision(row.item), row.deleted_at is not None)
        check_save(self._declaration, item, stored, overwrite=overwrite)
        self._check_parents(item)
        self.check_unique(item)

    def _check_parents(self, item: M) -> None:
        for column, parent in self._declaration.parents.items():
            table = self._tables.get(parent)
            if table is None or not any(table.living(tenant_of(item), {"id": getattr(item, column)})):
                raise NotFoundError(f"{self._declaration.name}.{column}: the {parent} does not exist")

    def _matching(self, tenant_id: UUID, where: Where) -> list[Row[M]]:
        """Return a tenant's rows with these values: a dictionary access if they name the key, else a scan."""
        rows = self._of(tenant_id)
        key = tuple(where.get(name) for name in self._declaration.key)
        named = list(rows.values()) if None in key else [rows[key]] if key in rows else []
        return [row for row in named if has(row.item, where)]

    def _of(self, tenant_id: UUID) -> dict[Key, Row[M]]:
        return self._rows.get(tenant_id, {})

    def _stored(self, item: M) -> Row[M] | None:
        """Return the row that has the key of an item."""
        return self._of(tenant_of(item)).get(self._declaration.key_of(item))

    def _put(self, item: M) -> None:
        rows = self._rows.setdefault(tenant_of(item), {})
        rows[self._declaration.key_of(item)] = Row(copied(item), current_call().write_id)

    def _remove(self, row: Row[M]) -> None:
        del self._rows[tenant_of(row.item)][self._declaration.key_of(row.item)]

    def check_unique(self, item: M) -> None:
        """Raise ConflictError if another living row has the item's values in a unique set."""
        for unique in self._declaration.unique:
            if not unique.counts(item):
                continue
            where = dict(zip(unique.columns, unique.values_of(item), strict=True))
            for row in self.living(tenant_of(item), where):
                if self._declaration.key_of(row.item) != self._declaration.key_of(item) and unique.counts(row.item):
                    raise unique_conflict(self._declaration, unique, item)


def copied(item: M) -> M:
    """Return a deep copy."""
    return item.model_copy(deep=True)


def has(item: Model, where: Mapping[str, Any]) -> bool:
    """Return whether an item has these values."""
    return all(_fits(getattr(item, name), wanted) for name, wanted in where.items() if wanted is not None)


def ordered(items: Iterator[M], declaration: Declaration[M], order: tuple[str, ...] | None = None) -> list[M]:
    """Return items in the declared order, or in another, ties by key."""
    found = list(items)
    for column in reversed(declaration.position(order)):
        name = column.removeprefix("-")
        found.sort(key=lambda item, name=name: getattr(item, name), reverse=column.startswith("-"))  # type: ignore[misc]
    return found


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


def _revision(item: Model) -> int:
    revision: int = item.__dict__["revision"]
    return revision
