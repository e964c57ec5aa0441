"""Pools whose connections run as the application role, and the check of a new connection."""

from __future__ import annotations

from collections.abc import Mapping
from struct import pack, unpack_from
from typing import Any

import asyncpg

from convostore.errors import ValidationError
from convostore.postgres.driver import UnresetConnection, use_codec

APPLICATION_ROLE = "convostore_app"
MAINTENANCE_ROLE = "convostore_maintenance"

_CHECK = """
SELECT r.rolsuper OR r.rolbypassrls AS unsafe, n.nspname AS vector_schema
FROM pg_catalog.pg_roles AS r
LEFT JOIN pg_catalog.pg_type AS t ON t.typname = 'vector' AND t.typtype = 'b'
LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
WHERE r.rolname = current_user
"""


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
            **(settings or {}),
            "timezone": "UTC",
            "role": role,
        },
    )


async def prepare(connection: Any) -> None:
    """Check the role of a new connection and register the codec of `vector`.

    Raises:
        ValidationError: the connection's role is a superuser or may bypass row-level security.
    """
    row = await connection.fetchrow(_CHECK)
    if row["unsafe"]:
        raise ValidationError(
            "pool: its role is above row-level security; let its connections run as "
            f'{APPLICATION_ROLE}, for example with server_settings={{"role": "{APPLICATION_ROLE}"}}'
        )
    if row["vector_schema"] is None:
        raise ValidationError("pool: the database has no pgvector; run convostore's migrations first")
    await use_codec(connection, "vector", row["vector_schema"], encode_vector, decode_vector)


def encode_vector(value: list[float] | bytes) -> bytes:
    """Return a vector as pgvector's `vector_recv` reads it: two big-endian uint16 (dimensions, 0), then float32s.

    Bytes are returned as they are: the elements of an array are encoded beforehand.
    """
    return value if isinstance(value, bytes) else pack(f">HH{len(value)}f", len(value), 0, *value)


def decode_vector(value: bytes) -> list[float]:
    """Return a vector from what pgvector's `vector_send` writes."""
    (dimensions,) = unpack_from(">H", value)
    return list(unpack_from(f">{dimensions}f", value, 4))
