"""Pools whose connections run as the application role, and the binary form of vectors."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from struct import pack, unpack_from
from typing import Any
from urllib.parse import quote, urlencode

import asyncpg

from convostore import urls
from convostore.errors import ValidationError
from convostore.postgres import driver
from convostore.postgres.driver import UnresetConnection

APPLICATION_ROLE = "convostore_app"
MAINTENANCE_ROLE = "convostore_maintenance"

CONNECT_TIMEOUT = 10.0
"""Seconds that a server has to answer a connection that no call waits for."""

_LIVENESS = {
    # A client that has vanished without a farewell: TCP gives up after some 15 s instead of hours.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "2",
    "tcp_user_timeout": "15000",
}


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
) -> asyncpg.Pool[Any]:
    """Open a pool for the PostgreSQL stores, whose connections run as the application role, or another.

    Args:
        dsn: the server and database; its user must be a member of the role `convostore_app`, or a superuser.
        min_size: how many connections to keep open.
        max_size: how many to open at most.
        settings: further settings of PostgreSQL for every connection, such as `statement_timeout`.
        role: `"convostore_maintenance"` for what only an operator may do; the user must be a member of it.

    Raises:
        ValidationError: the URL is malformed, or asks for what the driver cannot do.
    """
    return await asyncpg.create_pool(
        **connect_arguments(dsn),
        min_size=min_size,
        max_size=max_size,
        connection_class=UnresetConnection,
        # More than asyncpg's default of 100: named queries, and one generated statement per set of filters.
        statement_cache_size=500,
        server_settings={
            "application_name": "convostore",
            "jit": "off",
            **_LIVENESS,
            **(settings or {}),
            "timezone": "UTC",
            "role": role,
        },
    )


def encode_vector(value: list[float] | bytes) -> bytes:
    """Return a vector as pgvector's `vector_recv` reads it: two big-endian uint16 (dimensions, 0), then float32s.

    Bytes are returned as they are: the elements of an array are encoded beforehand.
    """
    return value if isinstance(value, bytes) else pack(f">HH{len(value)}f", len(value), 0, *value)


def decode_vector(value: bytes) -> list[float]:
    """Return a vector from what pgvector's `vector_send` writes."""
    (dimensions,) = unpack_from(">H", value)
    return list(unpack_from(f">{dimensions}f", value, 4))
