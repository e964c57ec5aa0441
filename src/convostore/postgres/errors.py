"""Translates the errors of PostgreSQL and asyncpg into store errors, by SQLSTATE."""

from __future__ import annotations

import asyncpg

from convostore.errors import ConflictError, ConnectionError, NotFoundError, StoreError, ValidationError

_TRANSIENT = {
    # Retryable: the server refused the statement or rolled it back. Keys are classes or whole codes.
    "08": "The connection to PostgreSQL was lost.",
    "53": "PostgreSQL is out of a resource.",
    "57": "PostgreSQL is shutting down, starting up, or was told to stop the call.",
    "58": "PostgreSQL met an error of its system.",
    "25006": "PostgreSQL is read-only at the moment.",
    "40": "PostgreSQL rolled the call back: serialization failure or deadlock.",
    "55P03": "Another call held a lock for too long.",
    "55006": "Something in PostgreSQL is in use.",
}

_LOST = ("08", "57P01", "57P02", "57P05")
"""After these the outcome is unknown: the server may have committed before the connection was lost."""


def translated(error: asyncpg.PostgresError | asyncpg.InterfaceError) -> StoreError:
    """Return the store error for a driver's error. The message is never the driver's, which may quote values.

    An argument that the driver cannot encode has SQLSTATE 22000, although nothing was sent.
    """
    if isinstance(error, asyncpg.PostgresError):
        return _by_state(error)
    if isinstance(error, asyncpg.exceptions.ClientConfigurationError):
        return ValidationError("The DSN or the settings of the connection are malformed.", code=type(error).__name__)
    return ConnectionError("The connection to PostgreSQL cannot be used.", code=type(error).__name__)


def _by_state(error: asyncpg.PostgresError) -> StoreError:
    state = error.sqlstate or ""
    constraint = getattr(error, "constraint_name", None)
    code = constraint or state
    if state in ("23505", "23P01"):
        return ConflictError(f"{constraint or 'A unique key'} is taken.", code=code)
    if state == "23503":
        return NotFoundError(f"{constraint or 'A reference'} names something that is not there.", code=code)
    if state.startswith(("22", "23", "54")):
        return ValidationError("PostgreSQL refused a value.", code=code)
    for prefix, message in _TRANSIENT.items():
        if state.startswith(prefix):
            lost = state.startswith(_LOST)
            return ConnectionError(message, outcome="unknown" if lost else "not_applied", code=code)
    return StoreError("PostgreSQL refused the call.", code=code)
