"""Composes statements of one tenant into one: a round trip, a snapshot, a transaction.

The parts stay what they are, with `$1` for the tenant and a binding of it in each query block. An argument may be an
expression over other parts. A part that `follows` another binds its tenant when that one is done, and so takes its
locks after it. All have the same snapshot.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from convostore.postgres.tenancy import TENANT

_PARAMETER = re.compile(r"\$(\d+)")
_CTE = re.compile(r"(\w+) (?:\([^()]*\) )?AS (?:MATERIALIZED )?\(")
_WRITING = re.compile(r"\b(?:INSERT INTO|UPDATE|DELETE FROM) convostore\.")

_STATEMENTS = 500
"""How many composed statements are kept: as many as a connection keeps of all."""


class Expression(str):
    """SQL in the place of an argument."""

    __slots__ = ()


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


_Shape: TypeAlias = tuple[tuple[str, str, tuple[str | None, ...], bool, str | None], ...]
"""Of each part: name, statement, expressions among its arguments, whether its rows are counted, what it follows."""


def composed(tenant_id: UUID, parts: list[Part], select: str, *arguments: Any) -> tuple[Any, ...]:
    """Return a statement of several, and its arguments, as the methods of `Database` take them.

    A part that has another number of rows than it must have refuses the whole, with the code `"composed"`.

    Args:
        tenant_id: the tenant of all of them.
        parts: the statements.
        select: what is returned, `FROM` the parts; its parameters are `{0}`, `{1}` and so on. A part's CTE of one row
            that waits for it is `<name>_done`.
        arguments: its arguments.
    """
    shape = tuple(
        (
            part.name,
            part.sql,
            tuple(each if isinstance(each, Expression) else None for each in part.arguments),
            part.rows is not None,
            part.follows,
        )
        for part in parts
    )
    given = [each for part in parts for each in part.arguments if not isinstance(each, Expression)]
    rows = [part.rows for part in parts if part.rows is not None]
    return _statement(shape, select, len(arguments)), tenant_id, *given, *rows, *arguments


@lru_cache(_STATEMENTS)
def _statement(shape: _Shape, select: str, more: int) -> str:
    ctes: dict[str, str] = {}
    number = 1
    counted = 1 + sum(expressions.count(None) for _, _, expressions, _, _ in shape)
    awaited = {follows for *_, follows in shape}
    for name, sql, expressions, is_counted, follows in shape:
        places = ["$1"]
        for expression in expressions:
            number += expression is None
            places.append(f"${number}" if expression is None else f"({expression})")
        text = _placed(sql, places)
        if follows:
            text = text.replace(TENANT, TENANT.replace(" OFFSET", f" WHERE (TABLE {follows}_done) OFFSET"))
        before, last = _flattened(text)
        ctes |= before
        ctes[name] = f"{name} AS {'' if _WRITING.search(last) else 'MATERIALIZED '}({last})"
        enough = "true"
        if is_counted:
            counted += 1
            enough = (
                f"CASE WHEN count(*) = ${counted}::bigint THEN true "
                "ELSE convostore.refuse('unique_violation', 'composed') END"
            )
        if is_counted or name in awaited or f"{name}_done" in select:
            ctes[f"{name}_done"] = f"{name}_done AS MATERIALIZED (SELECT count(*) >= 0 AND {enough} FROM {name})"
    final = select.format(*(f"${number}" for number in range(counted + 1, counted + 1 + more)))
    return f"WITH {', '.join(ctes.values())} {final}"


def _placed(sql: str, places: list[str]) -> str:
    """Return a statement with other parameters, or expressions, in the places of its own."""
    return _PARAMETER.sub(lambda found: places[int(found[1]) - 1], sql)


def _flattened(sql: str) -> tuple[dict[str, str], str]:
    """Return the CTEs of a statement that writes, by name, and what comes after them: only the outermost may write."""
    ctes: dict[str, str] = {}
    if not (sql.startswith("WITH ") and _WRITING.search(sql)):
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
