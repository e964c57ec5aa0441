"""Databases and users of a test's own, in the engine that all tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg

from convostore.postgres import migrate
from convostore.postgres.distribution import complete
from convostore.postgres.migrations.scripts import statements

NO_TENANT = ["alembic_version", "audit_retention"]
"""The tables that belong to nobody: the version of the schema, and the months whose audit bodies were dropped."""


def dsn_of(dsn: str, *, database: str = "convostore", user: str = "postgres") -> str:
    """Return an embedded engine's DSN with another database or user."""
    return dsn.replace("/convostore?", f"/{database}?").replace("//postgres@", f"//{user}@")


@asynccontextmanager
async def connected(dsn: str, **settings: str) -> AsyncIterator[Any]:
    """A connection of a test's own, with these settings."""
    connection = await asyncpg.connect(dsn, server_settings=settings)
    try:
        yield connection
    finally:
        # Some tests kill the server, and then there is nobody to say goodbye to.
        connection.terminate()


@asynccontextmanager
async def fresh_database(dsn: str) -> AsyncIterator[str]:
    """The DSN of an empty database, which is dropped after the block."""
    name = f"fresh_{uuid4().hex}"
    async with connected(dsn) as connection:
        await connection.execute(f"CREATE DATABASE {name}")
    try:
        yield dsn_of(dsn, database=name)
    finally:
        # On a connection of its own: some tests kill the server.
        async with connected(dsn) as connection:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def stand_in_for_citus(admin: Any) -> None:
    """Give a database functions that distribute tables on its own server: see the file."""
    for statement in statements(Path(__file__).with_name("citus_stand_in.sql").read_text("utf-8")):
        await admin.execute(statement)


@asynccontextmanager
async def distributed_database(dsn: str) -> AsyncIterator[str]:
    """The DSN of a new database that is distributed by the stand-in for Citus; dropped after the block."""
    async with fresh_database(dsn) as fresh:
        await migrate(fresh, sessions_by_tenant=True)
        async with connected(fresh) as admin:
            await stand_in_for_citus(admin)
            await complete(admin)
        yield fresh


@asynccontextmanager
async def fresh_user(dsn: str, options: str) -> AsyncIterator[str]:
    """The DSN of a new user that may log in, with these options of CREATE ROLE; dropped after the block."""
    name = f"fresh_{uuid4().hex}"
    async with connected(dsn) as connection:
        await connection.execute(f"CREATE ROLE {name} LOGIN {options}")
        try:
            yield dsn_of(dsn, user=name)
        finally:
            await connection.execute(f"DROP ROLE {name}")
