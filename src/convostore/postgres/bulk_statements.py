"""The statements of one table that read, insert or save several given rows at once.

Every statement binds its tenant (see `tenancy`) and compares `tenant_id = $1`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from convostore.domain.declaration import Declaration
from convostore.postgres.mapping import RowMapping, quoted
from convostore.postgres.tenancy import BIND_TENANT, BOUND


class BulkStatements:
    """Generates the SQL of one table for several given rows; `$1` is always the tenant."""

    def __init__(self, declaration: Declaration[Any], mapping: RowMapping[Any]) -> None:
        self._declaration = declaration
        self._mapping = mapping
        self._table = f"convostore.{quoted(declaration.name)}"
        self._key = [quoted(column) for column in ("tenant_id", *declaration.key)]
        compared = {"revision", *declaration.key}.union(*((*each.columns, *each.among) for each in declaration.unique))
        self.of_check = tuple(column for column in mapping.written if column in compared)
        self.select_keys = cache(self._select_keys)
        self.insert_few = cache(self._insert_few)
        self.insert_new = cache(self._insert_new)
        self.insert_all = cache(self._insert_all)
        self.save_all = cache(self._save_all)
        self.check_all = cache(self._check_all)

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
            f"revision = {next_revision(write_id)}, write_id = {write_id} FROM stored AS given "
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


def next_revision(write_id: str) -> str:
    """Return the next revision; a retry that finds its own write id does not increment it again."""
    return f"CASE WHEN t.write_id = {write_id} THEN t.revision ELSE t.revision + 1 END"
