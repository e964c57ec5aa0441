"""Composes statements of one tenant into one: a round trip, a snapshot, a transaction.

The parts stay what they are, with `$1` for the tenant and a binding of it in each query block. A part that `follows`
another binds its tenant when that one is done, and so takes its locks after it. All have the same snapshot.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from convostore.postgres.tenancy import TENANT

_PARAMETER = re.compile(r"\$(\d+)")
_CTE = re.compile(r"(\w+) (?:\([^()]*\) )?AS (?:MATERIALIZED )?\(")


class Part(NamedTuple):
    """A statement within another.

    Attributes:
        name: of the CTE that has its rows.
        sql: the statement; `$1` is the tenant.
        arguments: those after the tenant.
        rows: how many rows it must have; None for any number.
        follows: the part that must be done before it begins.
    """

    name: str
    sql: str
    arguments: tuple[Any, ...] = ()
    rows: int | None = None
    follows: str | None = None


def composed(tenant_id: UUID, parts: list[Part], select: str, *arguments: Any) -> tuple[Any, ...]:
    """Return a statement of several, and its arguments, as the methods of `Database` take them.

    A part that has another number of rows than it must have refuses the whole, with the code `"composed"`.

    Args:
        tenant_id: the tenant of all of them.
        parts: the statements.
        select: what is returned, `FROM` the parts; its parameters are `{0}`, `{1}` and so on.
        arguments: its arguments.
    """
    given = [tenant_id]
    rows = []
    for part in parts:
        given += part.arguments
        rows += [] if part.rows is None else [part.rows]
    shape = tuple((part.name, part.sql, len(part.arguments), part.rows is None, part.follows) for part in parts)
    return _statement(shape, select, len(arguments)), *given, *rows, *arguments


@cache
def _statement(shape: tuple[tuple[str, str, int, bool, str | None], ...], select: str, more: int) -> str:
    ctes: dict[str, str] = {}
    number = 1
    counted = 1 + sum(arguments for _, _, arguments, _, _ in shape)
    for name, sql, arguments, any_number, follows in shape:
        text = _shifted(sql, number - 1)
        if follows:
            text = text.replace(TENANT, TENANT.replace(" OFFSET", f" WHERE (TABLE {follows}_done) OFFSET"))
        number += arguments
        before, last = _flattened(text)
        ctes |= before
        ctes[name] = f"{name} AS MATERIALIZED ({last})" if last.startswith("SELECT") else f"{name} AS ({last})"
        enough = "true"
        if not any_number:
            counted += 1
            enough = (
                f"CASE WHEN count(*) = ${counted}::bigint THEN true "
                "ELSE convostore.refuse('unique_violation', 'composed') END"
            )
        ctes[f"{name}_done"] = f"{name}_done AS MATERIALIZED (SELECT count(*) >= 0 AND {enough} AS done FROM {name})"
    final = select.format(*(f"${number}" for number in range(counted + 1, counted + 1 + more)))
    return f"WITH {', '.join(ctes.values())} {final}"


def _shifted(sql: str, by: int) -> str:
    """Return a statement with other numbers of its parameters, apart from the tenant's."""
    return _PARAMETER.sub(lambda found: found[0] if found[1] == "1" else f"${int(found[1]) + by}", sql)


def _flattened(sql: str) -> tuple[dict[str, str], str]:
    """Return the CTEs of a statement by name, and what comes after them: only the outermost WITH may write."""
    ctes: dict[str, str] = {}
    if not sql.startswith("WITH "):
        return ctes, sql
    rest = sql.removeprefix("WITH ")
    while found := _CTE.match(rest):
        end, depth = found.end(), 1
        while depth:
            depth += {"(": 1, ")": -1}.get(rest[end], 0)
            end += 1
        ctes[found[1]] = rest[:end]
        rest = rest[end:].lstrip()
        if not rest.startswith(","):
            break
        rest = rest[1:].lstrip()
    return ctes, rest
