"""What the errors of PostgreSQL, asyncpg and the operating system mean to the stores, in one table."""

from __future__ import annotations

import builtins
import re
import socket
import ssl
from typing import NamedTuple

import asyncpg
from asyncpg.exceptions import (
    ClientConfigurationError,
    InvalidCachedStatementError,
    TargetServerAttributeNotMatched,
)

from convostore.call.translation import is_for_another_host
from convostore.errors import ConflictError, ConnectionError, NotFoundError, Outcome, StoreError, ValidationError
from convostore.postgres import driver

_CONSTRAINT = re.compile(r'constraint "(.+?)(?:_\d{6,})?"')
"""How the message of an error names a constraint: on a shard of Citus with the number of the shard."""


class Meaning(NamedTuple):
    """What a store raises for an error.

    Attributes:
        error: the class.
        message: in our words; the server's would quote values. `{name}` is the constraint, or what it stands for.
        retryable: whether the same call may succeed if repeated.
        outcome: `"unknown"` if the server may have committed before the error. What it refuses is rolled back.
    """

    error: type[StoreError]
    message: str
    retryable: bool = False
    outcome: Outcome = "not_applied"


_LOST = Meaning(ConnectionError, "The connection to PostgreSQL was lost.", True, "unknown")
_NO_SCHEMA = "The database lacks a part of the schema; run convostore migrate, and convostore doctor to see what."
_RESTARTING = "PostgreSQL is shutting down, starting up, or ended the session."
_NO_SESSION = 'The pooler in between keeps no session for a connection; set pooler="transaction" (CONVOSTORE_POOLER).'

STATES: dict[str, Meaning] = {
    # Unique keys, references, values.
    "23505": Meaning(ConflictError, "{name} is taken."),
    "23P01": Meaning(ConflictError, "{name} is taken."),
    "23503": Meaning(NotFoundError, "{name} names something that does not exist."),
    "22": Meaning(ValidationError, "PostgreSQL refused a value."),
    "23": Meaning(ValidationError, "PostgreSQL refused a value."),
    "54": Meaning(ValidationError, "A value exceeds a limit of PostgreSQL."),
    # The connection and the session. What was running when it was lost may have been committed.
    "08001": Meaning(ConnectionError, "PostgreSQL could not be reached.", True),
    "08004": Meaning(ConnectionError, "PostgreSQL refused the connection.", True),
    "08P01": Meaning(ConnectionError, "The server, or a pooler in between, broke the protocol.", True, "unknown"),
    "08": _LOST,
    "57P01": Meaning(ConnectionError, _RESTARTING, True, "unknown"),
    "57P02": Meaning(ConnectionError, _RESTARTING, True, "unknown"),
    "57P03": Meaning(ConnectionError, _RESTARTING, True),
    "57P04": Meaning(ConnectionError, "The database was dropped."),
    "57P05": Meaning(ConnectionError, _RESTARTING, True, "unknown"),
    "57": Meaning(ConnectionError, "PostgreSQL cancelled the statement.", True),
    # Transactions. A transaction that timed out was rolled back; a lost completion is unknown.
    "25006": Meaning(ConnectionError, "PostgreSQL is read-only: a standby, or by default_transaction_read_only.", True),
    "25P03": Meaning(ConnectionError, "PostgreSQL ended a transaction that was idle for too long.", True),
    "25P04": Meaning(ConnectionError, "PostgreSQL ended a transaction that took too long.", True),
    "40003": Meaning(ConnectionError, "PostgreSQL does not know whether the statement completed.", True, "unknown"),
    "40": Meaning(ConnectionError, "PostgreSQL rolled the call back: serialization failure or deadlock.", True),
    "55P03": Meaning(ConnectionError, "Another call held a lock for too long.", True),
    "55006": Meaning(ConnectionError, "Something in PostgreSQL is in use.", True),
    # Resources and the system.
    "53100": Meaning(ConnectionError, "The disk of PostgreSQL is full.", True),
    "53300": Meaning(
        ConnectionError, "PostgreSQL has no connection left; lower pool_size or raise max_connections.", True
    ),
    "53": Meaning(ConnectionError, "PostgreSQL is out of a resource.", True),
    "58": Meaning(ConnectionError, "PostgreSQL met an error of its system.", True),
    # Who may connect to what.
    "28000": Meaning(
        ConnectionError,
        "PostgreSQL refused the user: it does not exist, may not log in, or pg_hba.conf has no line that lets it in, "
        "with TLS or without.",
    ),
    "28": Meaning(ConnectionError, "PostgreSQL refused the user or the password; correct them in the URL."),
    "3D000": Meaning(ConnectionError, "The database does not exist; create it, or correct its name in the URL."),
    "42501": Meaning(
        StoreError,
        "The role lacks a privilege; GRANT convostore_app TO the user of the URL, or run convostore migrate.",
    ),
    # What ends a connection before its first statement.
    "FATAL 22023": Meaning(ValidationError, "PostgreSQL refused the value of an option of the URL; correct it."),
    "FATAL 42501": Meaning(
        ConnectionError,
        "The user may not connect to the database, or not as convostore_app; GRANT CONNECT ON DATABASE, or that role.",
    ),
    "FATAL 42704": Meaning(ValidationError, "The URL has an option that PostgreSQL does not know; correct its name."),
    "FATAL 55000": Meaning(
        ConnectionError, "The database accepts no connections; ALTER DATABASE it WITH ALLOW_CONNECTIONS true."
    ),
    # What the schema of this release has, and the database lacks.
    "3F000": Meaning(StoreError, _NO_SCHEMA),
    "42P01": Meaning(StoreError, _NO_SCHEMA),
    "42703": Meaning(StoreError, _NO_SCHEMA),
    "42704": Meaning(StoreError, _NO_SCHEMA),
    "42883": Meaning(StoreError, _NO_SCHEMA),
    # A pooler that hands the next statement to another session.
    "26000": Meaning(ConnectionError, _NO_SESSION),
    "42P05": Meaning(ConnectionError, _NO_SESSION),
}
"""By SQLSTATE, whole or its first two characters, which are its class (PostgreSQL's documentation, appendix A); after
FATAL where it means something else when it ends the connection."""

_UNKNOWN_TO_POOLER = (
    "The pooler refused user, password or database; correct the URL, or add them to its auth_file and databases."
)

POOLERS: dict[str, Meaning] = {
    "unsupported startup parameter": Meaning(
        ConnectionError,
        "A pooler stands between and refuses a parameter; leave parameters of PostgreSQL out of the URL, and set "
        'pooler="transaction" (CONVOSTORE_POOLER), or "session" if it keeps a session for a connection.',
    ),
    "no more connections allowed": Meaning(
        ConnectionError, "The pooler has no connection left; lower pool_size or raise its max_client_conn.", True
    ),
    "query_wait_timeout": Meaning(
        ConnectionError, "The pooler found no free connection to PostgreSQL in time; raise its default_pool_size.", True
    ),
    "SSL required": Meaning(ConnectionError, "The pooler demands TLS; leave ?sslmode=disable away."),
    "authentication failed": Meaning(ConnectionError, _UNKNOWN_TO_POOLER),
    "no such user": Meaning(ConnectionError, _UNKNOWN_TO_POOLER),
    "no such database": Meaning(ConnectionError, _UNKNOWN_TO_POOLER),
}
"""By what PgBouncer says: its SQLSTATE is 08P01 whatever is wrong."""

_OUTDATED = Meaning(ConnectionError, "A migration has outdated a statement.", True)

INTERNAL: dict[str, Meaning] = {"cache lookup failed": _OUTDATED} | dict.fromkeys(
    (
        "could not commit transaction",
        "could not make changes to shard",
        "failure on connection marked as essential",
        "connection not open",
        "no connection to the server",
        "server closed the connection",
        "could not receive data from server",
        "could not send data to server",
        "SSL connection has been closed",
        "SSL SYSCALL error",
    ),
    Meaning(ConnectionError, "A node of Citus was lost, and may have committed.", True, "unknown"),
)
"""By what PostgreSQL says of an object that was dropped while a statement ran, and Citus, or libpq within it, of a node
that it has lost: the SQLSTATE is XX000 then."""

_ANOTHER_HOST = Meaning(
    ConnectionError,
    "PostgreSQL's certificate is for another host; name the one that it is for, or use ?sslmode=verify-ca.",
)
_NO_TLS = Meaning(ConnectionError, "PostgreSQL does not offer TLS; enable it there, or use ?sslmode=disable.")

OTHERWISE = Meaning(StoreError, "PostgreSQL refused the call.")

_QUOTING = ("22", "28")
"""The classes whose messages quote a value or a user; others quote in DETAIL and CONTEXT alone."""

DRIVER: dict[type[BaseException], Meaning] = {
    # asyncpg's own errors, and the operating system's.
    InvalidCachedStatementError: _OUTDATED,
    ClientConfigurationError: Meaning(ValidationError, "The DSN or the settings of the connection are malformed."),
    TargetServerAttributeNotMatched: Meaning(
        ConnectionError, "No server of the URL is what its target_session_attrs asks for.", True
    ),
    asyncpg.InternalClientError: _LOST,
    asyncpg.InterfaceError: Meaning(ConnectionError, "The connection to PostgreSQL cannot be used.", True, "unknown"),
    TimeoutError: Meaning(ConnectionError, "PostgreSQL did not answer in time.", True, "unknown"),
    ssl.SSLCertVerificationError: Meaning(
        ConnectionError, "PostgreSQL's certificate is not trusted; name its authority with ?sslrootcert=."
    ),
    ssl.SSLError: Meaning(ConnectionError, "TLS with PostgreSQL failed.", True, "unknown"),
    socket.gaierror: Meaning(ConnectionError, "The host of the URL is unknown."),
    FileNotFoundError: Meaning(
        ConnectionError, "There is no socket at the path of the URL; is PostgreSQL running?", True
    ),
    PermissionError: Meaning(ConnectionError, "This user may not use the socket of PostgreSQL."),
    ConnectionRefusedError: Meaning(ConnectionError, "Nothing listens at the host and port of the URL.", True),
    OSError: Meaning(ConnectionError, "PostgreSQL could not be reached.", True, "unknown"),
    EOFError: _LOST,
}
"""By class of what no server sent."""


def translated(error: BaseException, *, lost: bool = False) -> StoreError:
    """Return the store error for any error of a driver's call.

    Args:
        error: what was raised.
        lost: whether the connection has ended: whatever a driver stumbles over then means that.
    """
    if isinstance(error, StoreError):
        return error
    if isinstance(error, asyncpg.ConnectionDoesNotExistError) and isinstance(error.__cause__, asyncpg.PostgresError):
        error = error.__cause__  # The server said why before it closed the connection.
    known = next((meaning for kind, meaning in DRIVER.items() if isinstance(error, kind)), None)
    if isinstance(error, builtins.ConnectionError) and driver.is_tls_refused(error):
        known = _NO_TLS
    if is_for_another_host(error):
        known = _ANOTHER_HOST
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        known = DRIVER[OSError]  # The resolver could not be asked.
    if known is None and isinstance(error, asyncpg.PostgresError):
        state, constraint = error.sqlstate or "", _constraint(error)
        _silence(error, state)
        severity: str | None = getattr(error, "severity_en", None)
        names = f"{severity} {state}", state, state[:2]
        words = POOLERS if state.startswith("08") else INTERNAL if state == "XX000" else {}
        told = (words[said] for said in words if said in str(error))
        meaning = [*told, *(STATES[name] for name in names if name in STATES), OTHERWISE][0]
        return _raised(meaning, constraint or state, constraint or "A key")
    failed = _LOST if lost else Meaning(StoreError, "PostgreSQL's driver failed.", outcome="unknown")
    return _raised(known or failed, type(error).__name__)


def _silence(error: asyncpg.PostgresError, state: str) -> None:
    """Remove what a server says of values and users from an error, which stays the cause for its class and fields."""
    error.__dict__.update(detail=None, context=None)
    if state[:2] in _QUOTING:
        error.args = (state,)
        error.__dict__.update(message=state)


def _raised(meaning: Meaning, code: str, name: str = "") -> StoreError:
    message = meaning.message.format(name=name)
    return meaning.error(message, retryable=meaning.retryable, outcome=meaning.outcome, code=code)


def _constraint(error: asyncpg.PostgresError) -> str | None:
    """Return the constraint that an error is about: its field, which Citus leaves out, or what its message names."""
    name: str | None = getattr(error, "constraint_name", None)
    if name is None and (error.sqlstate or "").startswith("23") and (found := _CONSTRAINT.search(str(error))):
        return found[1]
    return name
