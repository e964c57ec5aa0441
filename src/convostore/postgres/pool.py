"""Pools whose connections run as the application role, and the binary form of vectors."""

from __future__ import annotations

from collections.abc import Mapping
from struct import pack, unpack_from
from typing import Any

import asyncpg

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
    """
    return await asyncpg.create_pool(
        dsn,
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
