"""The table gateway on PostgreSQL: the rows of one declaration, by generated statements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from convostore.call.call import current_call
from convostore.domain.declaration import tenant_of
from convostore.domain.revisions import (
    RevisionState,
    check_distinct,
    check_save,
    check_saved,
    deduplicated,
    key_conflict,
    managed_values,
    same_content,
    set_managed,
    take_over,
    with_defaults,
)
from convostore.errors import ConflictError, StoreError
from convostore.models.base import Model
from convostore.postgres.batches import in_batches, in_order
from convostore.postgres.driver import fetch_pipelined
from convostore.postgres.readable_table import ReadableTable
from convostore.postgres.saving import save_each
from convostore.postgres.statements import Statements, split

M = TypeVar("M", bound=Model)

_FEW = 4
"""Rows that are inserted with a parameter per value, which costs less for few than arrays do.

The driver asks of each element of an array by abstract base classes whether it is an array itself, and the server plans
anew for the length of arrays.
"""

_SAVE_ATTEMPTS = 6
"""How often an upsert is tried when a concurrent insert of the same row causes a unique violation.

ON CONFLICT arbitrates by the primary key alone; a concurrent insert may violate another unique index first.
"""


class PostgresTable(ReadableTable[M]):
    """The rows of one declaration."""

    async def add(self, item: M, **defaults: Any) -> None:
        tenant_id = tenant_of(item)
        key = self._declaration.key_of(item)
        parameters: list[Any] = []
        fresh = with_defaults(item, defaults)
        if self._declaration.revisioned:
            managed = managed_values(item, revision=0, created_at=None, now=self._clock())
            fresh = fresh.model_copy(update=managed)
            parameters.append(current_call().write_id)
        refusal = key_conflict(self._declaration, key)
        try:
            inserting = self._statements.insert(), tenant_id, *self.mapping.parameters(fresh), *parameters
            if await self._database.write_together((tenant_id, *key), *inserting):
                take_over(item, fresh)
                return
        except ConflictError as conflict:
            # A concurrent insert of the same row may violate another unique index before the primary key.
            refusal = conflict
        stored = await self.get(tenant_id, **dict(zip(self._declaration.key, key, strict=True)))
        if stored is None or not same_content(stored, item, self._declaration):
            raise refusal
        take_over(item, stored)

    async def add_all(self, items: Sequence[M], **defaults: Any) -> None:
        given = deduplicated(items, self._declaration, defaults)
        if not given:
            return
        each = self._adding(given, defaults)
        first, second = next(each), next(each, None)
        tenant_id = tenant_of(items[0])
        if second is not None or self._database.in_transaction or not await self._insert_new(tenant_id, first):
            await self._add_missing(given, tenant_id, chain(filter(None, (first, second)), each))
        for item in items:
            take_over(item, with_defaults(given[self._declaration.key_of(item)], defaults))

    def adding(self, items: Sequence[M], **defaults: Any) -> tuple[list[M], tuple[Any, ...]] | None:
        """Return items as they are inserted if all are new, and the statement with its arguments.

        None if they are too many for one statement.

        Raises:
            ConflictError: two items have one key and other content.
        """
        fresh = [item.model_copy() for item in items]
        given = deduplicated(fresh, self._declaration, defaults)
        rows, *further = self._adding(given, defaults)
        if further:
            return None
        for item in fresh:
            take_over(item, with_defaults(given[self._declaration.key_of(item)], defaults))
        return fresh, self._inserting(tenant_of(items[0]), rows)

    def _adding(self, given: Mapping[tuple[Any, ...], M], defaults: Mapping[str, Any]) -> Iterator[list[list[Any]]]:
        """Set what is new of items, and yield their rows, in batches."""
        if self._declaration.revisioned:
            for item in given.values():
                set_managed(item, **managed_values(item, revision=0, created_at=None, now=self._clock()))
        # Rows are inserted in the order of their keys, so that concurrent calls cannot deadlock.
        return in_batches(
            map(self.mapping.parameters, (with_defaults(given[key], defaults) for key in in_order(given)))
        )

    def _inserting(self, tenant_id: UUID, rows: list[list[Any]]) -> tuple[Any, ...]:
        """Return the statement that inserts a batch of new rows, with its arguments."""
        if len(rows) > _FEW:
            return self._statements.insert_new(), *self._listed(tenant_id, rows)
        return self._statements.insert_few(len(rows)), tenant_id, *chain.from_iterable(rows), *self._write_id()

    def _listed(self, tenant_id: UUID, rows: list[list[Any]]) -> tuple[Any, ...]:
        """Return the arguments that insert a batch of rows as arrays."""
        return tenant_id, *self.mapping.lists(rows), *self._write_id()

    def _write_id(self) -> tuple[UUID, ...]:
        """Return what rows keep of the running call, if they keep anything."""
        return (current_call().write_id,) if self._declaration.revisioned else ()

    async def _insert_new(self, tenant_id: UUID, rows: list[list[Any]]) -> bool:
        """Insert a batch in one statement and return True, or insert nothing and return False if a row exists."""
        inserting = self._inserting(tenant_id, rows)
        few = len(rows) <= _FEW
        try:
            await (self._database.write_together((tenant_id,), *inserting) if few else self._database.fetch(*inserting))
        except ConflictError:
            return False
        return True

    async def _add_missing(
        self, given: dict[tuple[Any, ...], M], tenant_id: UUID, batches: Iterable[list[list[Any]]]
    ) -> None:
        """Insert the rows that do not exist, in one transaction, if those that do have the same content."""
        missing = set(given)
        async with self._database.transaction() as connection:
            arguments = (self._listed(tenant_id, rows) for rows in batches)
            inserting, selecting = map(
                self._database.form, (self._statements.insert_all(), self._statements.select_keys())
            )
            added = await fetch_pipelined(connection, inserting, arguments)
            missing.difference_update(map(tuple, added))
            for keys in in_batches(map(list, in_order(missing))):
                lists = [list(column) for column in zip(*keys, strict=True)]
                for row in await connection.fetch(selecting, tenant_id, *lists):
                    stored = self.mapping.model(row, tenant_id)
                    key = self._declaration.key_of(stored)
                    if same_content(stored, given[key], self._declaration):
                        take_over(given[key], stored)
                        missing.remove(key)
            if missing:
                raise key_conflict(self._declaration, in_order(missing)[0])

    async def save(self, item: M, *, overwrite: bool) -> None:
        await self._save(item, self._statements, overwrite=overwrite)

    async def _save(self, item: M, statements: Statements, *further: Any, overwrite: bool) -> None:
        """Save by these statements, with their further arguments."""
        managed = managed_values(item, revision=0, created_at=None, now=self._clock())
        saving = self.saving(item, managed, statements, overwrite=overwrite)
        inserting = overwrite or item.__dict__["revision"] == 0
        key = (tenant_of(item), *self._declaration.key_of(item))
        refusal: StoreError = StoreError(f"{self._declaration.name}: is neither saved nor refused", code="unsaved")
        for _ in range(_SAVE_ATTEMPTS):
            try:
                row = await self._database.write_together(key, *saving, *further)
            except ConflictError as conflict:
                if not inserting or not await self._check_refusal(item, *further, overwrite=overwrite):
                    raise
                refusal = conflict
            else:
                if row is not None:
                    set_managed(item, **managed | stored_values(row, managed))
                    return
                await self._check_refusal(item, *further, overwrite=overwrite)
        raise refusal

    def saving(
        self, item: M, managed: Mapping[str, Any], statements: Statements | None = None, *, overwrite: bool
    ) -> tuple[Any, ...]:
        """Return the statement of a save that sets these values, with its arguments but further ones."""
        statements = statements or self._statements
        tenant_id, write_id, expected = tenant_of(item), current_call().write_id, item.__dict__["revision"]
        if overwrite or expected == 0:
            return statements.save_new(), tenant_id, *self.mapping.parameters(item, **managed), write_id, overwrite
        values = self.mapping.parameters(item, statements.of_next, **managed)
        return statements.save_next(), tenant_id, *values, write_id, expected

    async def save_all(self, items: Sequence[M], *, overwrite: bool) -> None:
        check_distinct(items, self._declaration)
        if not items:
            return
        tenant_id, given = tenant_of(items[0]), {self._declaration.key_of(item): item for item in items}
        moment = self._clock()
        if await self._database.is_distributed():
            await save_each(self, given, moment, overwrite=overwrite)
            return
        managed = {key: managed_values(item, revision=0, created_at=None, now=moment) for key, item in given.items()}
        fresh = [
            item.model_copy(update=managed[key] | {"revision": item.__dict__["revision"]})
            for key, item in given.items()
        ]
        values = (*self.mapping.lists(list(map(self.mapping.parameters, fresh))), current_call().write_id, overwrite)
        rows, retries = None, _SAVE_ATTEMPTS - 1
        while rows is None:
            try:
                rows = await self._database.fetch(self._statements.save_all(), tenant_id, *values)
            except ConflictError:
                # A concurrent insert has committed meanwhile; the next snapshot includes it.
                if not retries:
                    raise
                retries -= 1
        found = {tuple(row[column] for column in self._declaration.key): row for row in rows}
        for key, row in found.items():
            check_saved(self._declaration, given[key], row["refused"], row["revision"], overwrite=overwrite)
        for key, item in given.items():
            kept = {name: found[key][name] for name in ("revision", "created_at") if name in item.store_managed}
            set_managed(item, **managed[key] | kept)

    async def delete(self, tenant_id: UUID, **where: Any) -> bool:
        shape, values = split(where)
        marks = (self._clock(), current_call().write_id) if self._declaration.soft_delete else ()
        statement = self._statements.delete(shape)
        return await self._database.fetchval(statement, tenant_id, *values, *marks) is not None

    async def restore(self, tenant_id: UUID, **where: Any) -> bool:
        shape, values = split(where)
        statement = self._statements.restore(shape)
        return await self._database.fetchval(statement, tenant_id, *values, current_call().write_id) is not None

    async def _check_refusal(self, item: M, *further: Any, overwrite: bool) -> bool:
        """Raise the error for a refused save, unless its reason is gone by now; return whether the row exists."""
        key = self.mapping.parameters(item, self._declaration.key)
        state = await self._database.fetchrow(self._statements.state(), tenant_of(item), *key)
        self._check_further(state, *further)
        stored = RevisionState(state["revision"], state["deleted"]) if state else None
        check_save(self._declaration, item, stored, overwrite=overwrite)
        return stored is not None

    def _check_further(self, state: asyncpg.Record | None, *further: Any) -> None:
        """Raise the error for a save that its further arguments refused."""


def stored_values(row: asyncpg.Record, managed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a row that was saved has in place of values that were to be set."""
    return {name: value for name, value in row.items() if name in managed}
