"""The statements of one table that follow from its declaration: select, count, insert, save, delete, restore.

Every statement binds its tenant (see `tenancy`) and compares `tenant_id = $1`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from convostore.domain.declaration import Declaration
from convostore.gateway.table import NotEnded, Started, Where, Window
from convostore.postgres.bulk_statements import BulkStatements, next_revision
from convostore.postgres.mapping import RowMapping, quoted
from convostore.postgres.tenancy import BIND_TENANT, bound_row

Shape = tuple[tuple[str, str], ...]
"""The filters of a statement: columns and comparison templates, in the order of their parameters."""

EQUAL, SINCE, UNTIL = "{} = {}", "{} >= {}", "{} < {}"
STARTED, NOT_ENDED = "({0} IS NULL OR {0} <= {1})", "({0} IS NULL OR {0} > {1})"


class Statements(BulkStatements):
    """Generates the SQL of one table; `$1` is always the tenant."""

    _more_state = ""
    """Further columns of `state`, after a comma."""

    def __init__(self, declaration: Declaration[Any], mapping: RowMapping[Any]) -> None:
        super().__init__(declaration, mapping)
        self.of_next = (*declaration.key, *self.replaced)
        self.select = cache(self._select)
        self.get = cache(self._get)
        self.insert = cache(self._insert_only)
        self.save_new = cache(self._save_new)
        self.save_next = cache(self._save_next)

    def _select(self, shape: Shape, order: tuple[str, ...] | None = None, *, after: bool = False) -> str:
        """SELECT a page; parameters: tenant, values of the shape, limit, offset, and the cursor's values if `after`."""
        conditions, used = self._conditions(shape)
        limit, offset = f"${used + 1}::bigint", f"${used + 2}::bigint"
        select = f"SELECT {self._mapping.selected} FROM {self._table} AS t WHERE {conditions}"
        page = f"ORDER BY {ordering(self._declaration, order)} LIMIT {limit}"
        if not after:
            return f"{select} {page} OFFSET {offset}"
        # Keyset pagination with mixed directions: one branch per column that may decide, each in the order of an index.
        position = self._declaration.position(order)
        equal: list[str] = []
        parts: list[str] = []
        for number, column in enumerate(position, start=used + 3):
            name = column.removeprefix("-")
            operator = "<" if column.startswith("-") else ">"
            last = f"${number}::{self._mapping.types[name]}"
            beyond = " AND ".join([*equal, f"t.{quoted(name)} {operator} {last}"])
            parts.append(f"({select} AND {beyond} {page} + {offset})")
            equal.append(f"t.{quoted(name)} = {last}")
        return f"SELECT * FROM ({' UNION ALL '.join(parts)}) AS t {page} OFFSET {offset}"

    def _get(self, shape: Shape) -> str:
        """SELECT the row that a unique shape leads to; parameters: tenant, values of the shape."""
        return f"SELECT {self._mapping.selected} FROM {self._table} AS t WHERE {self._conditions(shape)[0]} LIMIT 1"

    def count(self, shape: Shape) -> str:
        """SELECT count(*); parameters: tenant, values of the shape."""
        return f"SELECT count(*) FROM {self._table} AS t WHERE {self._conditions(shape)[0]}"

    def _insert_only(self) -> str:
        """INSERT ON CONFLICT DO NOTHING; parameters: tenant, columns, the write id if revisioned."""
        return f"{self._insert()} ON CONFLICT ({', '.join(self._key)}) DO NOTHING RETURNING t.tenant_id"

    def _save_new(self) -> str:
        """Upsert: INSERT, or update a row that is not deleted if `overwrite`, or if it has the same write id (a retry).

        Parameters: tenant, columns, write id, overwrite. Returns the columns that a save takes over from the row.
        """
        # `excluded` is what the triggers of the insert made of the row: those of the update get what was given.
        replaced = ", ".join(
            f"{quoted(column)} = "
            + (f"${number}::{kind}" if column in self._declaration.computed else f"excluded.{quoted(column)}")
            for number, (column, kind) in enumerate(self._mapping.written.items(), 2)
            if column in self.replaced
        )
        further = len(self._mapping.written) + 3
        return (
            f"{self._insert()} AND {self._one_at_a_time()} "
            f"ON CONFLICT ({', '.join(self._key)}) DO UPDATE SET {replaced}, "
            f"revision = {next_revision('excluded.write_id')}, write_id = excluded.write_id "
            f"WHERE {self._not_deleted} "
            f"AND (${further}::boolean OR t.write_id = excluded.write_id)"
            f"{self._further(further + 1)} RETURNING {self._returned}"
        )

    def _save_next(self) -> str:
        """Compare-and-set: UPDATE the row with the expected revision, or with the same write id (a retry).

        Parameters: tenant, key, replaced columns, write id, expected revision. Returns as `save_new`.
        """
        key = self._equal(self._declaration.key, 2)
        first = 2 + len(self._declaration.key)
        replaced = ", ".join(
            f"{quoted(column)} = ${number}::{self._mapping.written[column]}"
            for number, column in enumerate(self.replaced, start=first)
        )
        write_id, expected = f"${first + len(self.replaced)}::uuid", f"${first + len(self.replaced) + 1}::bigint"
        return (
            f"UPDATE {self._table} AS t SET {replaced}, revision = {next_revision(write_id)}, write_id = {write_id} "
            f"WHERE {BIND_TENANT} AND t.tenant_id = $1 AND {key} AND {self._not_deleted} "
            f"AND (t.revision = {expected} OR t.write_id = {write_id})"
            f"{self._further(first + len(self.replaced) + 2)} RETURNING {self._returned}"
        )

    def state(self) -> str:
        """SELECT revision and deletion, to tell why a save was refused; parameters: tenant, key."""
        deleted = "t.deleted_at IS NOT NULL" if self._declaration.soft_delete else "false"
        return (
            f"SELECT t.revision, {deleted} AS deleted{self._more_state} FROM {self._table} AS t "
            f"WHERE {BIND_TENANT} AND t.tenant_id = $1 AND {self._equal(self._declaration.key, 2)}"
        )

    def delete(self, shape: Shape) -> str:
        """DELETE, or set `deleted_at`; parameters: tenant, values of the shape, and if soft the time and write id."""
        conditions, used = self._conditions(shape)
        if not self._declaration.soft_delete:
            return f"DELETE FROM {self._table} AS t WHERE {conditions} RETURNING t.tenant_id"
        return (
            f"UPDATE {self._table} AS t SET deleted_at = ${used + 1}, write_id = ${used + 2} "
            f"WHERE {conditions} RETURNING t.tenant_id"
        )

    def restore(self, shape: Shape) -> str:
        """Clear `deleted_at` of the row deleted most recently; parameters: tenant, values of the shape, write id."""
        conditions, used = self._conditions(shape, living=False)
        key = ", ".join(f"t.{column}" for column in self._key[1:])
        latest = ", ".join(f"t.{column} DESC" for column in ("deleted_at", *self._key))
        return (
            f"UPDATE {self._table} AS t SET deleted_at = NULL, write_id = ${used + 1} "
            f"WHERE {BIND_TENANT} AND t.tenant_id = $1 AND ({key}) = ("
            f"SELECT {key} FROM {self._table} AS t WHERE {conditions} AND t.deleted_at IS NOT NULL "
            f"ORDER BY {latest} LIMIT 1) RETURNING t.tenant_id"
        )

    def _further(self, number: int) -> str:
        """Return further conditions of a save, on parameters from this number on."""
        return ""

    def _insert(self) -> str:
        columns = [*map(quoted, self._mapping.written)]
        values = [f"${number}::{kind}" for number, kind in enumerate(self._mapping.written.values(), 2)]
        if self._declaration.revisioned:
            columns.append("write_id")
            values.append(f"${len(values) + 2}::uuid")
        return f"INSERT INTO {self._table} AS t ({', '.join(columns)}) {bound_row(values)}"

    def _one_at_a_time(self) -> str:
        """Return a condition that lets concurrent upserts of one key pass one after the other.

        ON CONFLICT arbitrates by one index. Two inserts of the same row that meet in another unique index can wait for
        each other there, until `deadlock_timeout` (1 s) ends one of them.
        """
        numbers = [1, *(2 + self._mapping.columns.index(column) for column in self._declaration.key)]
        key = " || ' ' || ".join(f"${number}::text" for number in numbers)
        return f"pg_advisory_xact_lock(hashtextextended('{self._declaration.name} ' || {key}, 0)) IS NOT NULL"

    def _conditions(self, shape: Shape, *, living: bool = True) -> tuple[str, int]:
        """Return the WHERE clause and the number of its last parameter."""
        parts = [BIND_TENANT, "t.tenant_id = $1"]
        parts += [
            operator.format(f"t.{quoted(column)}", f"${number}::{self._mapping.types[column]}")
            for number, (column, operator) in enumerate(shape, start=2)
        ]
        if living and self._declaration.soft_delete:
            parts.append("t.deleted_at IS NULL")
        return " AND ".join(parts), len(shape) + 1

    def _equal(self, columns: Iterable[str], first: int) -> str:
        return " AND ".join(
            f"t.{quoted(column)} = ${number}::{self._mapping.types[column]}"
            for number, column in enumerate(columns, start=first)
        )


def ordering(declaration: Declaration[Any], order: tuple[str, ...] | None = None) -> str:
    """Return the total order of a list on the alias `t`: the declared one, or another, then the key."""
    position = declaration.position(order)
    return ", ".join(f"t.{quoted(c.removeprefix('-'))}{' DESC' * c.startswith('-')}" for c in position)


def split(where: Where) -> tuple[Shape, list[Any]]:
    """Return the shape of a `where` and its values; None compares nothing."""
    compared: list[tuple[str, str, Any]] = []
    for column, wanted in where.items():
        if isinstance(wanted, Window):
            compared += [(column, SINCE, wanted.since), (column, UNTIL, wanted.until)]
        elif isinstance(wanted, Started | NotEnded):
            compared.append((column, STARTED if isinstance(wanted, Started) else NOT_ENDED, wanted.at))
        else:
            compared.append((column, EQUAL, wanted))
    compared = [item for item in compared if item[2] is not None]
    return tuple((column, operator) for column, operator, _ in compared), [value for _, _, value in compared]
