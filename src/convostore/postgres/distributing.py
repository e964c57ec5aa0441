"""`convostore migrate --citus`: migrates a database and distributes it over the nodes of Citus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from convostore.errors import ValidationError
from convostore.postgres.distribution import ROLES, SETTINGS, complete
from convostore.postgres.migrations import connected, keep_session_ids, migrate, only_one
from convostore.postgres.migrations.printing import bootstrap
from convostore.postgres.pool import require_session

_RIGHTS = "SELECT rolsuper OR rolbypassrls FROM pg_catalog.pg_roles WHERE rolname = current_user"
_NO_CITUS = (
    "postgres_url: the database has no extension citus; on the coordinator run: CREATE EXTENSION citus, and add the "
    "workers with citus_add_node"
)
_NO_RIGHTS = "postgres_url: to distribute tables with what is in them, its user must be a superuser or have BYPASSRLS"


async def distribute(dsn: str, *, timeout: float = 86_400.0) -> list[str]:
    """Migrate a database and distribute its tables by tenant; return the tables that were distributed.

    Meant to be repeated, and to resume. No other process may be connected: a connection learns when it is opened
    whether tables are distributed.

    Args:
        dsn: the database on the coordinator; its user must be a superuser.
        timeout: how long to wait in all, in seconds; each table is one transaction, however large.

    Raises:
        ValidationError: the database has no extension citus, the user may not do this, or a pooler stands between:
            nothing has changed then.
        ConnectionError: a node cannot be reached, or somebody holds a table for too long; repeating resumes.
    """
    async with connected(dsn, timeout) as connection:
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')"):
            raise ValidationError(_NO_CITUS)
        if not await connection.fetchval(_RIGHTS):
            raise ValidationError(_NO_RIGHTS)
        await require_session(connection)
        # Nodes connect to each other as the user of a statement, so before the first statement of the schema.
        for statement in (*bootstrap(), *_roles(), *await _settings(connection)):
            await connection.execute(statement)
    await migrate(dsn, timeout=timeout, sessions_by_tenant=True)
    await keep_session_ids(dsn, by_tenant=True, timeout=timeout)
    async with connected(dsn, timeout) as connection, only_one(connection):
        return await complete(connection)


def _roles() -> Iterator[str]:
    """Yield what lets nodes connect to each other as the roles; pg_hba.conf of the nodes decides how."""
    return (f"ALTER ROLE {role} LOGIN" for role in ROLES)


async def _settings(connection: Any) -> list[str]:
    database = await connection.fetchval("SELECT quote_ident(current_database())")
    return [f"ALTER DATABASE {database} SET {name} = '{value}'" for name, value in SETTINGS.items()]
