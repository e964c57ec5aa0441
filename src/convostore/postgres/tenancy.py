"""Binds statements to a tenant, in a form that plain PostgreSQL and Citus both accept.

What differs between the two is what `distributed` changes in a statement, and `asked`.

`convostore.bind` sets the tenant of row-level security for the statement's own transaction and returns true, so a
condition that calls it costs no round trip. It must stand in every query block that names a table: there the planner
makes it a one-time filter, which is evaluated before any row is read. Its argument is a column, because Citus evaluates
functions of parameters on the coordinator; OFFSET 0 keeps the planner from replacing the column by the parameter.

A policy lets a condition use an index if the planner takes it for leakproof: a comparison of a column with a parameter
or a subquery, not with COALESCE. Rows that are given as JSON name their tenant and are compared with it, too: then the
planner expects few and looks each of them up, rather than read all that the tenant has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

TENANT = "(SELECT $1::uuid AS t OFFSET 0)"
"""What is bound. In a part of a composed statement it waits for another part (see `composition`)."""


def _binding(tenant: str) -> str:
    return "SELECT convostore.bind(v.t) AS bound FROM " + TENANT.replace("$1", tenant) + " AS v"


BIND_TENANT = f"({_binding('$1')})"
"""The condition that binds a statement to its first parameter."""

BOUND = f"bound AS MATERIALIZED ({_binding('$1')})"
"""The same for a statement of several tables: `(TABLE bound)` stands in each of its query blocks."""

MACROS = {
    "bind_tenant": f"({_binding(':tenant_id')})",
    "bound": f"bound AS MATERIALIZED ({_binding(':tenant_id')})",
    "bound to holder": (
        "holder AS MATERIALIZED (SELECT convostore.session_tenant(:session_id::uuid) AS tenant_id), "
        "bound AS MATERIALIZED (SELECT convostore.bind(h.tenant_id) AS bound FROM holder AS h)"
    ),
}
"""What binds a named query: to the tenant that is given, or to the one that holds a session."""


def of_tenant(statement: str) -> str:
    """Return a named query that is bound to a session's holder as one that is bound to the tenant that is given."""
    return statement.replace("{{bound to holder}}", "{{bound}}").replace("(TABLE holder)", ":tenant_id")


def bound_row(values: Iterable[str]) -> str:
    """Return the source of an INSERT of one row into the tenant's part of a table."""
    return f"SELECT {', '.join(values)} WHERE {BIND_TENANT}"


_PARAMETER = re.compile(r"\$(\d+)")
_IN_TIME = re.compile(r", convostore\.in_time\(\$\d+::timestamptz\)")
_ONE_ROW = re.compile(
    rf"(INSERT INTO convostore\.\S+ AS \w+ \()([^()]*)\)\s+SELECT ((?:(?! FROM ).)*?) WHERE {re.escape(BIND_TENANT)}"
    r"(?: AND pg_advisory_xact_lock\(.*?\) IS NOT NULL)?(?=\s|$)",
    re.DOTALL,
)
_ROW = re.compile(r'ROW\((t\."[^()]*)\)((?: AS \w+)? FROM convostore\.(\w+) AS t)')
_DROPPED = re.compile(r"convostore\.audit_body_dropped\(r\.recorded_at, b\.content IS NULL\)")
_SOURCE = re.compile(r"convostore\.(scored_episodes|named_entities|profiles_with_field)\(([^()]*)\) AS m(?: \(\w+\))?")
_COLUMNS = {
    "scored_episodes": {"id": "uuid", "score": "double precision", "share": "double precision"},
    "named_entities": {"id": "uuid"},
    "profiles_with_field": {"id": "uuid"},
}
"""Functions that ask tables and stand in FROM, with their columns."""


@lru_cache(2_000)
def distributed(statement: str) -> str:
    """Return the form that a statement has where tables are distributed by tenant (see `distribution`).

    - One row is inserted by VALUES: Citus evaluates the condition of an INSERT on the coordinator. `$1` is the tenant
      of every row, which a trigger on the shard binds. Advisory locks are local to a node, so there are none; of
      concurrent upserts that meet in two unique indexes one is ended, and repeated.
    - The deadline is compared at the end of the transaction (see `Database`), not in RETURNING.
    - Rows within rows have types of their own, which `distribution` creates.
    - The months whose bodies were dropped are looked up in their table, which every node has.

    A statement that writes in several CTEs has no such form: its caller runs several in a transaction.
    """
    statement = _ONE_ROW.sub(_values, _IN_TIME.sub("", statement))
    statement = _ROW.sub(r"ROW(\1)::convostore.\3_item\2", statement)
    statement = statement.replace("NULL::record", "NULL::convostore.entity_item")
    statement = statement.replace('given."tenant_id"::uuid', "$1::uuid")
    return _DROPPED.sub(
        "EXISTS (SELECT FROM convostore.audit_retention AS d "
        "WHERE d.month = date_trunc('month', r.recorded_at AT TIME ZONE 'UTC')::date AND (b.content IS NOT NULL "
        "OR d.dropped_at AT TIME ZONE 'UTC' >= d.month + interval '1 month'))",
        statement,
    )


class Asked(NamedTuple):
    """A statement without a function that asks tables, which is called before.

    Attributes:
        call: the statement that calls it.
        given: the numbers of the parameters that it takes.
        statement: the statement with arrays of what was found, one per column, as its last parameters.
        kept: the numbers of the parameters that it takes before.
        columns: the names of the columns.
    """

    call: str
    given: tuple[int, ...]
    statement: str
    kept: tuple[int, ...]
    columns: tuple[str, ...]


@lru_cache(2_000)
def asked(statement: str) -> Asked | None:
    """Return a statement and the function that asks tables beside its own, each by itself; None without such one."""
    found = _SOURCE.search(statement)
    if found is None:
        return None
    columns = _COLUMNS[found[1]]
    bound = BIND_TENANT.replace("$1", found[2].split(",")[0].strip())
    call, given = _renumbered(
        f"SELECT m.* FROM convostore.{found[1]}({found[2]}) AS m ({', '.join(columns)}) WHERE {bound}"
    )
    rest = f"{statement[: found.start()]}unnest({{}}) AS m ({', '.join(columns)}){statement[found.end() :]}"
    text, kept = _renumbered(rest)
    arrays = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(columns.values(), len(kept) + 1))
    return Asked(call, given, text.replace("unnest({})", f"unnest({arrays})"), kept, tuple(columns))


def _renumbered(statement: str) -> tuple[str, tuple[int, ...]]:
    """Return a statement whose parameters have no gaps, and the numbers that they had."""
    numbers = tuple(sorted({int(number) for number in _PARAMETER.findall(statement)}))
    return _PARAMETER.sub(lambda found: f"${numbers.index(int(found[1])) + 1}", statement), numbers


def _values(found: re.Match[str]) -> str:
    insert, columns, values = found.groups()
    place = [column.strip(' "\n') for column in columns.split(",")].index("tenant_id")
    listed = values.split(", ")
    if listed[place] != "$1::uuid":
        listed[place] = f"coalesce($1::uuid, {listed[place]})"
    return f"{insert}{columns}) VALUES ({', '.join(listed)})"
