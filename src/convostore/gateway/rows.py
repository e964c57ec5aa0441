"""A table whose rules are written once, for backends that read and write rows in transactions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from convostore.call.call import current_call
from convostore.domain.codec import readable
from convostore.domain.declaration import Declaration, tenant_of
from convostore.domain.revisions import (
    RevisionState,
    check_distinct,
    check_save,
    deduplicated,
    key_conflict,
    managed_values,
    same_content,
    take_over,
    unique_conflict,
    with_defaults,
)
from convostore.errors import NotFoundError
from convostore.gateway.table import Table, Where
from convostore.models.base import Model

M = TypeVar("M", bound=Model)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Row(Generic[M]):
    """A stored row.

    Attributes:
        handle: what the backend knows it by.
        write_id: the id of the call that last wrote, deleted or restored it.
        deleted_at: when it was softly deleted; None if it is living.
        read: returns its item, which the caller may change; raises `Unreadable`.
    """

    handle: Any
    write_id: UUID
    deleted_at: datetime | None
    read: Callable[[], M]


class RowTable(Table[M]):
    """The rows of one declaration, above five methods of a backend. Everything is checked before anything is written.

    All methods that are not coroutines run inside a transaction, possibly in another thread.

    Args:
        declaration: what it holds.
        clock: returns the current time, aware.
        tables: the tables of the store by the names of their declarations, in which parents are looked for.
    """

    def __init__(
        self,
        declaration: Declaration[M],
        clock: Callable[[], datetime],
        tables: Mapping[str, RowTable[Any]] | None = None,
    ) -> None:
        self._declaration = declaration
        self._clock = clock
        self._tables = {} if tables is None else tables

    @abstractmethod
    async def transaction(self, work: Callable[[], T]) -> T:
        """Run a function that reads and writes rows of the store's tables, and return what it returns.

        It sees nothing that others write meanwhile. If it raises, nothing is written.
        """

    @abstractmethod
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
    ) -> Sequence[Row[M]]:
        """Return the rows that match: the living, the softly deleted, or with None both. The rest is as for `find`."""

    @abstractmethod
    def put(self, item: M, write_id: UUID) -> None:
        """Store an item as a living row, in place of one with its key."""

    @abstractmethod
    def mark(self, row: Row[M], deleted_at: datetime | None, write_id: UUID) -> None:
        """Set when a row was softly deleted, None for living again, and the call that did it."""

    @abstractmethod
    def remove(self, row: Row[M]) -> None:
        """Remove a row for good."""

    async def get(self, tenant_id: UUID, **where: Any) -> M | None:
        rows = await self.transaction(lambda: self.select(tenant_id, where, limit=1))
        return rows[0].read() if rows else None

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
        def work() -> list[M]:
            found: list[M] = []
            skipped = offset
            while True:
                # A page is full unless it is the last: what cannot be read is made up for by what follows it.
                rows = self.select(tenant_id, where, limit=limit, offset=skipped, order=order, after=after)
                found += items_of(rows)
                if limit is None or len(found) >= limit or len(rows) < limit:
                    return found[:limit]
                skipped += limit

        return await self.transaction(work)

    async def count(self, tenant_id: UUID, where: Where) -> int:
        return len(await self.transaction(lambda: self.select(tenant_id, where)))

    async def add(self, item: M, **defaults: Any) -> None:
        await self.add_all([item], **defaults)

    async def add_all(self, items: Sequence[M], **defaults: Any) -> None:
        given, write_id = deduplicated(items, self._declaration, defaults), current_call().write_id
        stored = await self.transaction(lambda: self._add_all(given, defaults, write_id))
        for item in items:
            take_over(item, stored[self._declaration.key_of(item)])

    async def save(self, item: M, *, overwrite: bool) -> None:
        await self.save_all([item], overwrite=overwrite)

    async def save_all(self, items: Sequence[M], *, overwrite: bool) -> None:
        check_distinct(items, self._declaration)
        write_id = current_call().write_id
        stored = await self.transaction(lambda: self._save_all(items, write_id, overwrite=overwrite))
        for item, saved in zip(items, stored, strict=True):
            take_over(item, saved)

    async def delete(self, tenant_id: UUID, **where: Any) -> bool:
        write_id = current_call().write_id
        return await self.transaction(lambda: self.delete_all(tenant_id, where, write_id)) > 0

    async def restore(self, tenant_id: UUID, **where: Any) -> bool:
        write_id = current_call().write_id

        def work() -> bool:
            row = self.last_deleted(tenant_id, where)
            if row is None:
                return False
            self.check_unique(row.read())
            self.mark(row, None, write_id)
            return True

        return await self.transaction(work)

    def delete_all(self, tenant_id: UUID, where: Where, write_id: UUID) -> int:
        """Delete the rows that match, softly if so declared; return how many."""
        rows, moment = self.select(tenant_id, where), self._clock()
        for row in rows:
            if self._declaration.soft_delete:
                self.mark(row, moment, write_id)
            else:
                self.remove(row)
        return len(rows)

    def purge(self, tenant_id: UUID, before: datetime, limit: int) -> int:
        """Remove for good the rows that were softly deleted first, before a moment; return how many."""
        deleted = self.select(tenant_id, {}, deleted=True)
        dated = ((row.deleted_at, self._declaration.key_of(row.read()), row) for row in deleted if row.deleted_at)
        old = [row for deleted_at, _, row in sorted(dated, key=lambda each: each[:2]) if deleted_at < before][:limit]
        for row in old:
            self.remove(row)
        return len(old)

    def last_deleted(self, tenant_id: UUID, where: Where) -> Row[M] | None:
        """Return the matching row that was deleted last, or None."""
        rows = self.select(tenant_id, where, deleted=True)
        return max(rows, key=lambda row: (row.deleted_at, self._declaration.key_of(row.read())), default=None)

    def check_unique(self, item: M) -> None:
        """Raise ConflictError if another living row has an item's values of a unique set."""
        key = self._declaration.key_of(item)
        for unique in filter(lambda unique: unique.counts(item), self._declaration.unique):
            where = dict(zip(unique.columns, unique.values_of(item), strict=True))
            for other in (row.read() for row in self.select(tenant_of(item), where)):
                if unique.counts(other) and self._declaration.key_of(other) != key:
                    raise unique_conflict(self._declaration, unique, item)

    def _add_all(
        self, given: Mapping[tuple[Any, ...], M], defaults: Mapping[str, Any], write_id: UUID
    ) -> dict[tuple[Any, ...], M]:
        """Insert items by key and return what is stored by then."""
        stored = {key: self._stored(item) for key, item in given.items()}
        new = [given[key] for key, row in stored.items() if row is None]
        check_distinct(new, self._declaration)
        for item in new:
            self._check_parents(item)
            self.check_unique(item)
        found = {key: row.read() for key, row in stored.items() if row is not None and row.deleted_at is None}
        for key, row in stored.items():
            if row is not None and not (key in found and same_content(found[key], given[key], self._declaration)):
                raise key_conflict(self._declaration, key)
        moment = self._clock()
        for item in new:
            managed = managed_values(item, revision=0, created_at=None, now=moment)
            fresh = with_defaults(item, defaults).model_copy(update=managed if self._declaration.revisioned else None)
            found[self._declaration.key_of(item)] = fresh
            self.put(fresh, write_id)
        return found

    def _save_all(self, items: Sequence[M], write_id: UUID, *, overwrite: bool) -> list[M]:
        """Save items and return what is stored by then."""
        rows = [self._stored(item) for item in items]
        if rows and all(row and row.write_id == write_id and row.deleted_at is None for row in rows):
            # An earlier attempt of this call was applied and its answer lost.
            return [row.read() for row in rows if row]
        stored = [self._checked(item, overwrite=overwrite) for item in items]
        moment, saved = self._clock(), []
        for item, found in zip(items, stored, strict=True):
            revision, created_at = (_revision(found), getattr(found, "created_at", None)) if found else (0, None)
            managed = managed_values(item, revision=revision, created_at=created_at, now=moment)
            saved.append(item.model_copy(update=managed))
            self.put(saved[-1], write_id)
        return saved

    def _checked(self, item: M, *, overwrite: bool) -> M | None:
        """Return what is stored under the key of an item, if it may be saved there."""
        row = self._stored(item)
        found = row.read() if row else None
        stored = RevisionState(_revision(found), row.deleted_at is not None) if row and found else None
        check_save(self._declaration, item, stored, overwrite=overwrite)
        self._check_parents(item)
        self.check_unique(item)
        return found

    def _check_parents(self, item: M) -> None:
        for column, parent in self._declaration.parents.items():
            table, where = self._tables.get(parent), {"id": getattr(item, column)}
            if table is None or not table.select(tenant_of(item), where, limit=1):
                raise NotFoundError(f"{self._declaration.name}.{column}: the {parent} does not exist")

    def _stored(self, item: M) -> Row[M] | None:
        """Return the row that has the key of an item, deleted or not."""
        where = dict(zip(self._declaration.key, self._declaration.key_of(item), strict=True))
        return next(iter(self.select(tenant_of(item), where, deleted=None)), None)


def items_of(rows: Sequence[Row[M]]) -> list[M]:
    """Return the items of rows; those that cannot be read are logged and left out."""
    return list(readable(lambda row: row.read(), rows))


def _revision(item: Model) -> int:
    revision: int = item.__dict__["revision"]
    return revision
