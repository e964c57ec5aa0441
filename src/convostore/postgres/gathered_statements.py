"""Statements of several calls, made from the statement of one.

Reads become one statement that runs the single one for each parameter list, and so binds each row's tenant in turn:

    SELECT one.*, k.n FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS k (p1, p2, n)
    CROSS JOIN LATERAL (<the statement, with k.p1 for $1 and k.p2 for $2> OFFSET 0) AS one

OFFSET 0 keeps the planner from merging the two, so that the binding and the policy are conditions of each inner scan.

Writes are pipelined: the statement is executed for each parameter list, with a binding and a snapshot of its own, in
one implicit transaction. So all are applied or none, and none is merged with another.
"""

from __future__ import annotations

import re

from convostore.postgres.tenancy import TENANT

PATIENCE = 0.05
"""Seconds after which a statement under way holds up no other, and for which pipelined writes wait for locks."""

_CAST = re.compile(r"\$(\d+)::(\w+(?: with time zone)?)")
_PARAMETER = re.compile(r"\$(\d+)")

_HURRIED = (
    "set_config('lock_timeout', "
    f"greatest(1, {PATIENCE} * 1000 - (extract(epoch FROM clock_timestamp() - now()) * 1000)::int)::text, true) "
    "IS NOT NULL"
)
"""A condition that leaves to the transaction what is left of its patience, before it takes a lock."""


def gathered(statement: str) -> str:
    """Return a statement that reads one row as one that does so for each element of arrays of its parameters.

    The statement casts each of its parameters at least once.
    """
    types = dict(sorted(_CAST.findall(statement)))
    arrays = ", ".join(f"${number}::{kind}[]" for number, kind in types.items())
    names = ", ".join(f"p{number}" for number in types)
    one = _PARAMETER.sub(r"k.p\1", statement)
    return (
        f"SELECT one.*, k.n FROM unnest({arrays}) WITH ORDINALITY AS k ({names}, n) "
        f"CROSS JOIN LATERAL ({one} OFFSET 0) AS one"
    )


def pipelined(statement: str) -> str:
    """Return a statement that writes one row as one among others, which does not wait long for locks.

    Its last parameter is a number, which stands in the row that it returns as `n`.
    """
    number = f"${1 + max(map(int, _PARAMETER.findall(statement)))}::int AS n"
    hurried = statement.replace(TENANT, TENANT.replace(" OFFSET", f" WHERE {_HURRIED} OFFSET"))
    if statement.startswith("SELECT"):
        return f"SELECT one.*, {number} FROM ({hurried}) AS one"
    return f"{hurried}, {number}"  # after RETURNING
