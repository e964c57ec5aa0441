"""How a statement is bound to a tenant, in the one form that plain PostgreSQL and Citus both take.

`convostore.bind` sets the tenant of row-level security for the statement's own transaction and returns true, so a
condition that calls it costs no round trip. It must stand at the level of every reference to a table: there the planner
makes it a one-time filter, which is evaluated before any row is read. Its argument is a column, because Citus evaluates
functions of parameters on the coordinator; OFFSET 0 keeps the planner from making it a parameter again.
"""

from __future__ import annotations

from collections.abc import Iterable

BIND_TENANT = "(SELECT convostore.bind(v.t) FROM (SELECT $1::uuid AS t OFFSET 0) AS v)"
"""The condition that binds a statement to its first parameter."""

BOUND = "bound AS MATERIALIZED (SELECT convostore.bind(v.t) AS bound FROM (SELECT $1::uuid AS t OFFSET 0) AS v)"
"""The same for a statement of several tables: beside each of them stands `(TABLE bound)`."""

BOUND_TO_HOLDER = (
    "holder AS MATERIALIZED (SELECT coalesce($2::uuid, convostore.session_tenant($1)) AS tenant_id), "
    "bound AS MATERIALIZED (SELECT convostore.bind(h.tenant_id) AS bound FROM holder AS h)"
)
"""For a session's id ($1) and the tenant, if that is known ($2): binds to the tenant that holds the session."""


def bound_row(values: Iterable[str]) -> str:
    """Return the source of an INSERT of one row into the tenant's part of a table."""
    return f"SELECT {', '.join(values)} WHERE {BIND_TENANT}"
