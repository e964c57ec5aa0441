"""As whom the statements of a transaction ask tables.

Within a transaction Citus reaches what was written of a tenant as the role that wrote it, and refuses every other one
(25001; Citus's source, connection/placement_connection.c). A SECURITY DEFINER function asks its tables as its owner.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from tests.postgres.citus_rules import WRITES, calls, of_kind, pgparse, tables

CALLER = "the caller"

FUNCTIONS = f"""
SELECT p.proname::text, CASE WHEN p.prosecdef THEN p.proowner::regrole::text ELSE '{CALLER}' END, p.provolatile = 'v'
FROM pg_proc AS p
WHERE p.pronamespace = 'convostore'::regnamespace AND p.prosrc ~ '(FROM|INTO|UPDATE|TABLE) convostore\\.'
"""
"""The functions that ask tables, as whom, and whether they write."""


class ActingRoles:
    """The statements of one transaction.

    Args:
        functions: as whom each function asks tables, and whether it writes.
    """

    def __init__(self, functions: Mapping[str, tuple[str, bool]]) -> None:
        self._functions = functions
        self._wrote: str | None = None

    def refused(self, statement: str) -> list[str]:
        """Return as whom a further statement asks tables although another role has written."""
        called, asks, writes_itself = _parsed(statement)
        asked = [self._functions[name] for name in called if name in self._functions]
        asked += [(CALLER, writes_itself)] if asks else []
        self._wrote = self._wrote or next((role for role, writes in asked if writes), None)
        return [f"{role} after {self._wrote}" for role, _ in asked if self._wrote not in (None, role)]


@cache
def _parsed(statement: str) -> tuple[list[str], bool, bool]:
    """Return the functions that a statement calls, and whether it names tables, and writes them."""
    tree: Any = pgparse.parse(statement)
    return calls(tree), bool(tables(tree)), any(of_kind(tree, *WRITES))
