"""Binds statements to a tenant, in the one form that plain PostgreSQL and Citus both accept.

`convostore.bind` sets the tenant of row-level security for the statement's own transaction and returns true, so a
condition that calls it costs no round trip. It must stand in every query block that names a table: there the planner
makes it a one-time filter, which is evaluated before any row is read. Its argument is a column, because Citus evaluates
functions of parameters on the coordinator; OFFSET 0 keeps the planner from replacing the column by the parameter.
"""

from __future__ import annotations

from collections.abc import Iterable

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
