"""The statements of one table that follow from its declaration: select, count, insert, save, delete, restore.

Every statement binds its tenant (see `tenancy`) and compares `tenant_id = $1`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from convostore.domain.declaration import Declaration
from convostore.gateway.table import NotEnded, Started, Where, Window
from convostore.postgres.mapping import RowMapping, quoted
from convostore.postgres.tenancy import BIND_TENANT, BOUND, bound_row

Shape = tuple[tuple[str, str], ...]
"""The filters of a statement: columns and comparison templates, in the order of their parameters."""

EQUAL, SINCE, UNTIL = "{} = {}", "{} >= {}", "{} < {}"
STARTED, NOT_ENDED = "({0} IS NULL OR {0} <= {1})", "({0} IS NULL OR {0} > {1})"


class Statements:
    """Generates the SQL of one table; `$1` is always the tenant."""

    _more_state = ""
    """Further columns of `state`, after a comma."""

    def __init__(self, declaration: Declaration[Any], mapping: RowMapping[Any]) -> None:
        self._declaration = declaration
        self._mapping = mapping
        self._table = f"convostore.{quoted(declaration.name)}"
        self._key = [quoted(column) for column in ("tenant_id", *declaration.key)]
        self.of_next = (*declaration.key, *self.replaced)
        compared = {"revision", *declaration.key}.union(*((*each.columns, *each.among) for each in declaration.unique))
        self.of_check = tuple(column for column in mapping.written if column in compared)
        self.select = cache(self._select)
        self.get = cache(self._get)
        self.select_keys = cache(self._select_keys)
        self.insert = cache(self._insert_only)
        self.insert_few = cache(self._insert_few)
        self.insert_new = cache(self._insert_new)
        self.insert_all = cache(self._insert_all)
        self.save_new = cache(self._save_new)
        self.save_next = cache(self._save_next)
        self.save_all = cache(self._save_all)
        self.check_all = cache(self._check_all)

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

    def _select_keys(self) -> str:
        """SELECT by keys; parameters: tenant, an array per key column."""
        listed = ", ".join(
            f"${number}::{self._mapping.types[column]}[]" for number, column in enumerate(self._declaration.key, 2)
        )
        return (
            f"SELECT {self._mapping.selected} FROM {self._table} AS t WHERE {BIND_TENANT} AND t.tenant_id = $1 "
            f"AND ({', '.join(f't.{column}' for column in self._key[1:])}) IN (SELECT * FROM unnest({listed}))"
        )

    def _insert_all(self) -> str:
        """INSERT rows ON CONFLICT DO NOTHING; parameters: as `insert_new`."""
        return self._insert_given(*self._arrays(), f"ON CONFLICT ({', '.join(self._key)}) DO NOTHING ")

    def _insert_new(self) -> str:
        """INSERT rows and return their keys; parameters: tenant, an array per column, the write id if revisioned.

        Columns of arrays are passed as array literals: the driver takes a list of lists for a two-dimensional array.
        """
        return self._insert_given(*self._arrays())

    def _insert_few(self, rows: int) -> str:
        """INSERT so many rows and return their keys; parameters: tenant, the columns of each row, the write id."""
        kinds = self._mapping.written.values()
        firsts = range(2, 2 + rows * len(kinds), len(kinds))
        values = [", ".join(f"${number}::{kind}" for number, kind in enumerate(kinds, first)) for first in firsts]
        return self._insert_given(f"(VALUES ({'), ('.join(values)}))", firsts.stop)

    def _arrays(self) -> tuple[str, int]:
        """Return the source of rows that are given as an array per column, and the number of the next parameter."""
        listed = [
            f"${number}::{kind}[]" for number, kind in enumerate(map(self._mapping.listed, self._mapping.written), 2)
        ]
        return f"unnest({', '.join(listed)})", 2 + len(listed)

    def _insert_given(self, source: str, write_id: int, otherwise: str = "") -> str:
        """INSERT the rows of a source and return their keys; the write id is the parameter of this number."""
        given = columns = ", ".join(map(quoted, self._mapping.written))
        values = ", ".join(f"given.{quoted(column)}::{kind}" for column, kind in self._mapping.written.items())
        if self._declaration.revisioned:
            columns, values = f"{columns}, write_id", f"{values}, ${write_id}::uuid"
        return (
            f"INSERT INTO {self._table} AS t ({columns}) SELECT {values} FROM {source} AS given ({given}) "
            f"WHERE {BIND_TENANT} {otherwise}RETURNING {', '.join(self._key[1:])}"
        )

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
            f"revision = {_next_revision('excluded.write_id')}, write_id = excluded.write_id "
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
            f"UPDATE {self._table} AS t SET {replaced}, revision = {_next_revision(write_id)}, write_id = {write_id} "
            f"WHERE {BIND_TENANT} AND t.tenant_id = $1 AND {key} AND {self._not_deleted} "
            f"AND (t.revision = {expected} OR t.write_id = {write_id})"
            f"{self._further(first + len(self.replaced) + 2)} RETURNING {self._returned}"
        )

    def _save_all(self) -> str:
        """Upsert rows, all or none.

        Parameters: tenant, an array per column (revision: the expected ones), write id, overwrite. Returns key and
        columns as `save_new` for every row; or for the first refused row, with `refused` set to `deleted`, `revision`
        or the name of a unique constraint.
        """
        checked, writes = self._checked_and_written(tuple(self._mapping.written))
        return checked + writes

    def _check_all(self) -> str:
        """Lock rows that are to be saved, and SELECT the first that is refused, if one is, as `save_all` does.

        Parameters: tenant, an array per column of `of_check`, write id, overwrite.
        """
        names = [quoted(column) for column in self._declaration.key]
        names += [f"stored_{each} AS {each}" for each in self._returned.replace("t.", "").split(", ")]
        checked = self._checked_and_written(self.of_check)[0].removesuffix(", ")
        return f"{checked} SELECT {', '.join(names)}, refused FROM refused"

    def _checked_and_written(self, columns: tuple[str, ...]) -> tuple[str, str]:
        """Return the CTEs that tell what is refused of rows with these columns, and what follows in `save_all`."""
        key = [quoted(column) for column in self._declaration.key]
        write_id, overwrite = f"${len(columns) + 2}::uuid", f"${len(columns) + 3}::boolean"
        bound = "(TABLE bound) AND t.tenant_id = $1"
        same = " AND ".join(f"t.{column} = given.{column}" for column in key)
        in_order = f"ORDER BY {', '.join(f'given.{column}' for column in key)}"
        values = ["1" if column == "revision" else f"given.{quoted(column)}" for column in columns]
        returned = [column.removeprefix("t.") for column in self._returned.split(", ")]
        found = ", ".join(f"t.{column}" for column in (*key, *returned))
        stored = ", ".join(f"t.{column} AS stored_{column}" for column in returned)
        refused = ", ".join((*key, *(f"stored_{column}" for column in returned), "refused"))
        # The planner guesses how many rows are given. A lookup of each is as good for many as for few, a join is not.
        return (
            f"WITH {BOUND}, stored AS MATERIALIZED (SELECT given.*, t.* "
            f"FROM (SELECT {self._cast('given', columns)}, given.place "
            f"FROM {self._unnested(columns)} {in_order} OFFSET 0) AS given "
            f"LEFT JOIN LATERAL (SELECT {stored}, t.write_id = {write_id} AS own, NOT {self._not_deleted} AS deleted "
            f"FROM {self._table} AS t WHERE {bound} AND {same} OFFSET 0 FOR UPDATE) AS t ON true), "
            "checked AS MATERIALIZED (SELECT given.*, CASE WHEN given.deleted THEN 'deleted' "
            f"WHEN NOT ({overwrite} OR coalesce(given.own, false) "
            "OR given.revision = coalesce(given.stored_revision, 0)) "
            f"THEN 'revision'{self._violations(bound)} END AS refused FROM stored AS given), "
            "refused AS MATERIALIZED (SELECT * FROM checked WHERE refused IS NOT NULL ORDER BY place LIMIT 1), ",
            f"updated AS (UPDATE {self._table} AS t "
            f"SET {', '.join(f'{quoted(column)} = given.{quoted(column)}' for column in self.replaced)}, "
            f"revision = {_next_revision(write_id)}, write_id = {write_id} FROM stored AS given "
            f"WHERE {bound} AND {same} AND NOT EXISTS (SELECT FROM refused) "
            f"AND given.stored_revision IS NOT NULL RETURNING {found}), "
            f"inserted AS (INSERT INTO {self._table} AS t ({', '.join(map(quoted, columns))}, write_id) "
            f"SELECT {', '.join(values)}, {write_id} FROM stored AS given WHERE (TABLE bound) "
            "AND NOT EXISTS (SELECT FROM refused) AND given.stored_revision IS NULL "
            f"{in_order} RETURNING {found}) "
            "SELECT updated.*, NULL AS refused FROM updated UNION ALL SELECT inserted.*, NULL FROM inserted "
            f"UNION ALL SELECT {refused} FROM refused",
        )

    def _violations(self, bound: str) -> str:
        """Return CASE branches that name the first unique constraint which a given row would violate."""
        key = [quoted(column) for column in self._declaration.key]
        other = " OR ".join(f"t.{column} <> given.{column}" for column in key)
        branches = ""
        for unique in self._declaration.unique:
            same = [f"t.{quoted(column)} = given.{quoted(column)}" for column in unique.columns]
            for column, values in unique.among.items():
                listed = ", ".join(f"'{value}'" for value in values)
                same += [f"{row}.{quoted(column)} IN ({listed})" for row in ("t", "given")]
            branches += (
                f" WHEN EXISTS (SELECT FROM {self._table} AS t WHERE {bound} AND {' AND '.join(same)} "
                f"AND {self._not_deleted} AND ({other})) THEN '{self._declaration.constraint(unique)}'"
            )
        return branches

    def _unnested(self, columns: tuple[str, ...]) -> str:
        """Return `unnest` of an array per column WITH ORDINALITY; columns of arrays are still text.

        As subqueries the arrays have no length that the planner knows: it would plan anew for each, at three times the
        cost of saving two rows.
        """
        types = enumerate(map(self._mapping.listed, columns), 2)
        listed = ", ".join(f"(SELECT ${number}::{kind}[])" for number, kind in types)
        return f"unnest({listed}) WITH ORDINALITY AS given ({', '.join(map(quoted, columns))}, place)"

    def _cast(self, row: str, columns: tuple[str, ...]) -> str:
        """Return these columns of unnested rows, cast to their types."""
        return ", ".join(f"{row}.{quoted(c)}::{self._mapping.written[c]} AS {quoted(c)}" for c in columns)

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

    @property
    def replaced(self) -> list[str]:
        """The columns that a save updates: all but the key, `revision` and `created_at`, and what is computed."""
        fixed = {"tenant_id", *self._declaration.key, "revision", "created_at"}
        return [column for column in self._mapping.written if column not in fixed]

    @property
    def _not_deleted(self) -> str:
        return "t.deleted_at IS NULL" if self._declaration.soft_delete else "true"

    @property
    def _returned(self) -> str:
        return "t.revision, t.created_at" if "created_at" in self._mapping.columns else "t.revision"

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


def _next_revision(write_id: str) -> str:
    """Return the next revision; a retry that finds its own write id does not increment it again."""
    return f"CASE WHEN t.write_id = {write_id} THEN t.revision ELSE t.revision + 1 END"


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
