"""Pools whose connections run as the application role, and the binary form of vectors."""

from __future__ import annotations

import re
import ssl
from array import array
from collections.abc import Callable, Coroutine, Mapping
from struct import pack
from sys import byteorder
from typing import Any
from urllib.parse import quote, urlencode

import asyncpg

from convostore import urls
from convostore.errors import ValidationError
from convostore.postgres import driver
from convostore.postgres.driver import Pooler, SessionConnection, TransactionConnection, UnresetConnection

APPLICATION_ROLE = "convostore_app"
MAINTENANCE_ROLE = "convostore_maintenance"
READER_ROLE = "convostore_reader"

CONNECT_TIMEOUT = 10.0
"""Seconds that a server has to answer a connection that no call waits for."""

_LARGEST_STATEMENT = 64 << 10
"""Bytes up to which a statement is cached; asyncpg's default of 15 KiB is less than what a composed one may have."""

_LIVENESS = {
    # A client that has vanished without a farewell: TCP gives up after some 15 s instead of hours.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "2",
    "tcp_user_timeout": "15000",
}


_PASSED_ON = ("application_name", "timezone")
"""Of the settings with which a connection is opened, those that PgBouncer passes on; it refuses all others."""

_CONNECTIONS = {None: UnresetConnection, "session": SessionConnection, "transaction": TransactionConnection}

_IGNORED = {
    "channel_binding": ("disable", "prefer"),
    "gssencmode": ("disable", "prefer"),
    "fallback_application_name": None,
    "load_balance_hosts": ("disable",),
    "sslcompression": ("0",),
    "sslsni": ("1",),
}
"""Parameters of libpq that asyncpg would send to the server, with the values that ask for nothing that it lacks."""

_UNSUPPORTED = {
    *("hostaddr", "keepalives", "keepalives_count", "keepalives_idle", "keepalives_interval", "replication"),
    *("require_auth", "requirepeer", "sslcertmode", "sslcrldir", "sslkeylogfile", "gssdelegation"),
}


_FILES = ("passfile", "sslcert", "sslkey", "sslrootcert", "sslcrl")


def connect_arguments(dsn: str) -> dict[str, Any]:
    """Return the arguments with which asyncpg connects to a URL of libpq.

    Raises:
        ValidationError: the URL is malformed, or asks for what the driver cannot do.
    """
    given = urls.parsed(dsn, urls.POSTGRES, name="postgres_url").options
    timeout = given.pop("connect_timeout", str(CONNECT_TIMEOUT))
    if not re.fullmatch(r"\d+(\.\d+)?", timeout):
        raise ValidationError("postgres_url: connect_timeout must be a number of seconds")
    for name in list(given):
        allowed = _IGNORED.get(name, ())
        if name in _UNSUPPORTED or (name in _IGNORED and allowed is not None and given[name] not in allowed):
            raise ValidationError(f"postgres_url: asyncpg does not support {name}={given[name]}")
        if name in _IGNORED:
            del given[name]
    dsn = f"{dsn.partition('?')[0]}{'?' * bool(given)}{urlencode(given, quote_via=quote)}"
    try:
        driver.parsed(dsn)
    except OSError as error:
        files = " or ".join(f"{name}={given[name]}" for name in _FILES if name in given)
        problem = "not in PEM format" if isinstance(error, ssl.SSLError) else error.strerror
        reason = f"cannot read {files or error.filename or 'a file that it names'}: {problem}"
    except asyncpg.ClientConfigurationError as error:
        reason = str(error)
    except ValueError:
        reason = "is malformed"
    else:
        return {"dsn": dsn, "timeout": float(timeout) or None}
    raise ValidationError(f"postgres_url: {reason}")


async def create_pool(
    dsn: str,
    *,
    min_size: int = 0,
    max_size: int = 10,
    settings: Mapping[str, str] | None = None,
    role: str = APPLICATION_ROLE,
    pooler: Pooler | None = None,
) -> asyncpg.Pool[Any]:
    """Open a pool for the PostgreSQL stores, whose connections run as the application role, or another.

    Args:
        dsn: the server and database; its user must be a member of the role `convostore_app`, or a superuser.
        min_size: how many connections to keep open.
        max_size: how many to open at most.
        settings: further settings of PostgreSQL for every connection, such as `statement_timeout`.
        role: `"convostore_maintenance"` for what only an operator may do, `"convostore_reader"` to look without being
            able to write; the user must be a member of it.
        pooler: what stands between, such as PgBouncer: `"session"` keeps a session of the server for a connection.
            `"transaction"` may give each transaction another one: no statement is cached then, and role and settings
            are those of the URL's user, who must be a member of `convostore_app` and of no other role of convostore.

    Raises:
        ValidationError: the URL is malformed, or asks for what the driver cannot do; or a role or settings are given
            that a pooler in transaction mode would lose.
    """
    if pooler == "transaction" and (settings or role != APPLICATION_ROLE):
        name = "settings" if settings else "role"
        raise ValidationError(f'{name}: pooler="transaction" takes them from the user of the URL (ALTER ROLE … SET)')
    state = {
        "application_name": "convostore",
        "jit": "off",
        **_LIVENESS,
        **(settings or {}),
        "timezone": "UTC",
        "role": role,
    }
    sent = {name: state[name] for name in state if pooler is None or name in _PASSED_ON}
    pool = await asyncpg.create_pool(
        **connect_arguments(dsn),
        min_size=min_size,
        max_size=max_size,
        connection_class=_CONNECTIONS[pooler],
        # More than asyncpg's default of 100: named queries, and one generated statement per set of filters.
        statement_cache_size=0 if pooler == "transaction" else 500,
        max_cacheable_statement_size=_LARGEST_STATEMENT,
        server_settings=sent,
        init=_setting({name: state[name] for name in state if name not in sent}) if pooler == "session" else None,
    )
    driver.serve_in_order(pool)
    return pool


async def connect(dsn: str, **settings: str) -> Any:
    """Open one connection as the user of a URL. Without settings it works behind any pooler: it caches no statement.

    Raises:
        ValidationError: the URL is malformed, or asks for what the driver cannot do.
    """
    return await asyncpg.connect(**connect_arguments(dsn), statement_cache_size=0, server_settings=settings)


async def require_session(connection: Any) -> None:
    """Refuse a connection behind a pooler, for what needs a session of the server for itself.

    Raises:
        ValidationError: a pooler stands between.
    """
    if await driver.is_pooled(connection):
        raise ValidationError("postgres_url: a pooler stands between; this needs the URL of PostgreSQL itself")


def _setting(state: Mapping[str, str]) -> Callable[[Any], Coroutine[Any, Any, None]]:
    """Return what sets the settings of a new connection that a pooler refuses when it is opened."""

    async def init(connection: Any) -> None:
        await connection.fetch(
            "SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS t (name, value)",
            list(state),
            list(state.values()),
        )

    return init


def encode_vector(value: list[float] | bytes) -> bytes:
    """Return a vector as pgvector's `vector_recv` reads it: two big-endian uint16 (dimensions, 0), then float32s.

    Bytes are returned as they are: the elements of an array are encoded beforehand.
    """
    return value if isinstance(value, bytes) else pack(f">HH{len(value)}f", len(value), 0, *value)


def decode_vector(value: bytes) -> list[float]:
    """Return a vector from what pgvector's `vector_send` writes."""
    numbers = array("f", value[4:])
    if byteorder == "little":
        numbers.byteswap()
    return numbers.tolist()
