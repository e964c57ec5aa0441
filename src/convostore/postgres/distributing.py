"""`convostore migrate --citus`: migrates a database and distributes it over the nodes of Citus."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg

from convostore.errors import StoreError, ValidationError
from convostore.postgres.distribution import ROLES, SETTINGS, complete
from convostore.postgres.migrations import connected, keep_session_ids, migrate, only_one
from convostore.postgres.migrations.printing import bootstrap
from convostore.postgres.migrations.propagation import SUPERUSER
from convostore.postgres.pool import require_session

_NO_CITUS = (
    "postgres_url: the database has no extension citus; on the coordinator run: CREATE EXTENSION citus, and add the "
    "workers with citus_add_node"
)
_NO_SUPERUSER = "postgres_url: to distribute tables, its user must be a superuser"

_SETTINGS = {"timezone": "UTC", "datestyle": "ISO", "jit": "off"}
"""What a node needs on connections that another makes: moments may travel as text, and a pool's settings do not."""

_ROLES = "\n    ".join(
    (
        "DO $$ BEGIN",
        "PERFORM set_config('citus.enable_ddl_propagation', 'off', true);",
        *(f"ALTER ROLE {role} LOGIN;" for role in ROLES),
        *(f"ALTER ROLE {role} SET {name} = '{value}';" for role in ROLES for name, value in _SETTINGS.items()),
        # As functions of this role have it, whose settings do not reach a shard.
        "ALTER ROLE convostore_search SET enable_seqscan = off;",
        "END $$",
    )
)
"""Lets nodes connect to each other as the roles; pg_hba.conf of the nodes decides how."""

_REFUSED = "SELECT nodename, result FROM run_command_on_workers($1) WHERE NOT success"


async def distribute(dsn: str, *, timeout: float = 86_400.0) -> list[str]:
    """Migrate a database and distribute its tables by tenant; return the tables that were distributed.

    Meant to be repeated, and to resume. No other process may be connected: a connection learns when it is opened
    whether tables are distributed.

    Args:
        dsn: the database on the coordinator; its user must be a superuser.
        timeout: how long to wait in all, in seconds; each table is one transaction, however large.

    Raises:
        ValidationError: the database has no extension citus, the user is no superuser, or a pooler stands between:
            nothing has changed then.
        ConnectionError: the coordinator cannot be reached, or somebody holds a table for too long; repeating resumes.
        StoreError: a node refused something, or a worker cannot be reached; repeating resumes.
    """
    with _telling():
        return await _distribute(dsn, timeout)


async def _distribute(dsn: str, timeout: float) -> list[str]:
    async with connected(dsn, timeout) as connection:
        if not await connection.fetchval(SUPERUSER):
            raise ValidationError(_NO_SUPERUSER)
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')"):
            raise ValidationError(_NO_CITUS)
        await require_session(connection)
        roles, extension, _ = bootstrap()
        # Nodes connect to each other as the user of a statement, so before the first statement of the schema.
        for statement in (roles, _ROLES):
            await _on_every_node(connection, statement)
        for statement in (extension, *await _settings(connection)):
            await connection.execute(statement)
    await migrate(dsn, timeout=timeout, sessions_by_tenant=True)
    await keep_session_ids(dsn, by_tenant=True, timeout=timeout)
    async with connected(dsn, timeout) as connection, only_one(connection):
        return await complete(connection)


@contextmanager
def _telling() -> Iterator[None]:
    """Add what a node said to an error: what our own message supposes is about a single server."""
    try:
        yield
    except StoreError as error:
        if isinstance(cause := error.__cause__, asyncpg.PostgresError):
            error.args = (f"{error} {cause.sqlstate}: {cause.args[0]}. {getattr(cause, 'hint', None) or ''}".rstrip(),)
        raise


async def _on_every_node(connection: Any, statement: str) -> None:
    """Run a statement that is not propagated on the coordinator and on every active worker.

    Citus brings a role to a worker if it was created while the extension was there, or owns or may use what is
    distributed; roles that several databases share may be older.

    Raises:
        StoreError: a worker could not run it.
    """
    await connection.execute(statement)
    for node, result in await connection.fetch(_REFUSED, statement):
        raise StoreError(f"{node}: {result}")


async def _settings(connection: Any) -> list[str]:
    database = await connection.fetchval("SELECT quote_ident(current_database())")
    return [f"ALTER DATABASE {database} SET {name} = '{value}'" for name, value in SETTINGS.items()]
