"""The versions of the schema, and `migrate`, which brings a database to one of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from convostore import supported
from convostore.call.translation import UNANSWERED
from convostore.errors import ConnectionError, StoreError, ValidationError
from convostore.postgres import driver
from convostore.postgres.checking import SESSION_IDS
from convostore.postgres.errors import translated
from convostore.postgres.migrations.printing import bootstrap, roles_sql
from convostore.postgres.migrations.propagation import check_distributed, is_distributed
from convostore.postgres.migrations.scripts import LOCK_TIMEOUT, versions
from convostore.postgres.pool import connect, require_session

VERSIONS = ("base", *versions())
"""The versions of the schema that this release knows, none first."""

HEAD = VERSIONS[-1]
"""The version that this release works with."""

_LOCK = 0x636F6E766F  # "convo": the advisory lock that one migrating process holds
_POLL = 0.05
_PGVECTOR = "SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'vector'"


async def migrate(
    dsn: str, revision: str = "head", *, timeout: float = 120.0, sessions_by_tenant: bool = False
) -> None:
    """Bring a database to a version of the schema. Safe in any number of processes at once; quick if nothing is to do.

    Each version is a transaction, and is tried again if it is the victim of a deadlock.

    Args:
        dsn: the database. If there is something to do, its user must be a superuser or the owner of the database with
            the right to create roles and the extension `vector`.
        revision: the version: `"head"`, a number, or `"base"` to remove the schema and everything in it.
        timeout: how long to wait in all, in seconds.
        sessions_by_tenant: whether a schema that is made anew keeps session ids unique per tenant alone; one that is
            there stays as it is: see `keep_session_ids`.

    Raises:
        ValidationError: the user may not do this, the server or pgvector is too old or pgvector missing, the database
            is not in UTF-8, or a newer release migrated it to a schema that this one cannot work with, or should leave
            again; or there is something to do and a pooler stands between, or tables are distributed and the user is
            no superuser or the version too low.
        ConnectionError: the server cannot be reached, another process migrates for too long, or somebody holds a table
            for longer than a migration waits for it (code `55P03`): nothing has changed then.
    """
    target = HEAD if revision == "head" else revision
    if target not in VERSIONS:
        raise ValidationError(f"revision: must be head or one of {', '.join(VERSIONS)}")
    async with connected(dsn, timeout) as connection:
        if await _is_to_do(connection, target):
            await require_session(connection)
            async with only_one(connection):
                if await _is_to_do(connection, target):  # nobody migrated meanwhile
                    if distributed := await is_distributed(connection):
                        await check_distributed(connection, target)
                    is_new = await _version(connection) == "base"
                    await _migrate(dsn, connection, target)
                    if distributed and target == HEAD:
                        from convostore.postgres.distribution import complete

                        await complete(connection)
                    if is_new and sessions_by_tenant:
                        await _keep_session_ids(dsn, by_tenant=True)


async def keep_session_ids(dsn: str, *, by_tenant: bool, timeout: float = 120.0) -> bool:
    """Let a migrated database keep session ids unique per tenant alone, or across tenants; return whether it changed.

    Processes that were opened before have hot copies under the keys of the former choice: stop them first.

    Args:
        dsn: the database, whose user must be the one that migrates it.
        by_tenant: whether a session id is unique per tenant alone.
        timeout: how long to wait in all, in seconds.

    Raises:
        ValidationError: there is no schema, the user may not do this, a pooler stands between, sessions of two tenants
            have the same id, or tables are distributed, where ids are unique per tenant alone.
        ConnectionError: the server cannot be reached, or somebody holds the table for longer than a migration waits.
    """
    async with connected(dsn, timeout) as connection:
        if (found := await connection.fetchval(f"SELECT {SESSION_IDS}")) is None:
            raise ValidationError("sessions_by_tenant: there is no schema; run: convostore migrate")
        if by_tenant == (found == "session"):
            return False
        if not by_tenant and await is_distributed(connection):
            raise ValidationError("sessions_by_tenant: tables are distributed; ids are unique per tenant alone")
        await require_session(connection)
        async with only_one(connection):
            await _keep_session_ids(dsn, by_tenant=by_tenant)
    return True


async def prepare_roles(dsn: str, login: str, *, timeout: float = 10.0) -> None:
    """Make roles, extension and schema, so that a user without privileges on roles can migrate the database.

    Args:
        dsn: the database; its user must be an administrator.
        login: the user that will migrate.
        timeout: how long to wait, in seconds.

    Raises:
        ValidationError: there is no such login, the user of the URL may not do this, or the server lacks pgvector.
        ConnectionError: the server cannot be reached.
    """
    text = roles_sql(login)
    async with connected(dsn, timeout) as connection:
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", login):
            raise ValidationError("login: the server has no such user; CREATE ROLE it WITH LOGIN")
        await connection.execute(text)


async def schema_version(dsn: str, *, timeout: float = 10.0) -> str:
    """Return the version of a database's schema, `"base"` if there is none.

    Args:
        dsn: the database.
        timeout: how long to wait, in seconds.

    Raises:
        ValidationError: a newer release migrated the database to a schema that this one cannot work with.
        ConnectionError: the server cannot be reached.
    """
    async with connected(dsn, timeout) as connection:
        return await _version(connection)


@asynccontextmanager
async def connected(dsn: str, timeout: float) -> AsyncIterator[Any]:
    """Give a block a connection of the user of a URL, and `timeout` seconds.

    Raises:
        ValidationError: the user may not do something, or the server is too old.
        ConnectionError: the server cannot be reached, or the time is over.
    """
    try:
        async with asyncio.timeout(timeout):
            connection = await _connect(dsn)
            try:
                supported.check("PostgreSQL", driver.release_of(connection))
                yield connection
            finally:
                driver.abort(connection)
    except TimeoutError as error:
        raise ConnectionError("The database was not ready in time.", outcome="unknown", code="timeout") from error
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise _explained(error) from error


async def _connect(dsn: str) -> Any:
    try:
        return await connect(dsn)
    except TimeoutError as error:
        raise ConnectionError(UNANSWERED, code="timeout") from error
    except asyncpg.PostgresError as error:
        raise translated(error) from error


async def _migrate(dsn: str, connection: Any, target: str) -> None:
    # Alembic and SQLAlchemy take longer to import than an up-to-date database takes to check.
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    from convostore.postgres.migrations.running import run

    await _bootstrap(connection)
    vector_schema = await connection.fetchval(
        "SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
        "WHERE e.extname = 'vector'"
    )

    async def as_owner(*_: Any, **__: Any) -> Any:
        return await connect(dsn, role="convostore_owner", search_path=vector_schema, lock_timeout=f"{LOCK_TIMEOUT}s")

    engine = create_async_engine("postgresql+asyncpg://", async_creator=as_owner, poolclass=NullPool)
    try:
        while True:
            try:
                async with engine.connect() as bind:
                    await bind.run_sync(run, target)
                    await bind.commit()
                return
            except DBAPIError as error:
                # The victim of a deadlock is rolled back, which ends it: the migration is tried again. What does not
                # get a table in time is not, because calls would wait behind each attempt.
                if not isinstance(cause := driver.beneath(error), asyncpg.DeadlockDetectedError):
                    raise cause from error
    finally:
        await engine.dispose()


async def _keep_session_ids(dsn: str, *, by_tenant: bool) -> None:
    # The index is the choice: there is nothing beside it that could tell otherwise.
    change = (
        "DROP INDEX IF EXISTS convostore.session_session_id_key"
        if by_tenant
        else "CREATE UNIQUE INDEX IF NOT EXISTS session_session_id_key ON convostore.session (session_id)"
    )
    owner = await connect(dsn, role="convostore_owner", lock_timeout=f"{LOCK_TIMEOUT}s")
    try:
        await owner.execute(change)
    except asyncpg.UniqueViolationError as error:
        raise ValidationError("sessions_by_tenant: sessions of two tenants have the same id") from error
    finally:
        driver.abort(owner)


async def _bootstrap(connection: Any) -> None:
    supported.check_encoding(await connection.fetchval("SHOW server_encoding"))
    # All or nothing: what is refused leaves no role behind.
    async with connection.transaction():
        for statement in bootstrap():
            await connection.execute(statement)
        supported.check("pgvector", await connection.fetchval(_PGVECTOR))


async def _is_to_do(connection: Any, target: str) -> bool:
    """Return whether to migrate. The schema of a newer release that this one works with is left as it is."""
    version = await _version(connection)
    if version not in VERSIONS and target != HEAD:
        raise ValidationError(f"revision: the schema is at {version}, and only a release that knows it can leave it")
    return version in VERSIONS and version != target


async def _version(connection: Any) -> str:
    if await connection.fetchval("SELECT to_regclass('convostore.alembic_version') IS NULL"):
        return "base"
    found = await connection.fetchrow(
        f"SELECT version_num, compatible, ({_PGVECTOR}) AS vector FROM convostore.alembic_version"  # noqa: S608
    )
    if found is None:
        return "base"
    supported.check("pgvector", found["vector"])
    version: str = found["version_num"]
    if version not in VERSIONS and found["compatible"] > HEAD:
        raise ValidationError(
            f"postgres_url: the schema is at {version}, which takes a release that knows {found['compatible']}; "
            f"this one knows it up to {HEAD}: upgrade convostore"
        )
    return version


@asynccontextmanager
async def only_one(connection: Any) -> AsyncIterator[None]:
    """Hold the migration lock. It is polled: a waiting lock request would hold back the one who has it."""
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):  # noqa: ASYNC110
        await asyncio.sleep(_POLL)
    try:
        yield
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


def _explained(error: Exception) -> StoreError:
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return ValidationError(
            "postgres_url: its user may neither use nor migrate the schema; GRANT convostore_app TO it, or let an "
            "administrator run convostore migrate, or what convostore migrate roles prints"
        )
    if isinstance(error, asyncpg.FeatureNotSupportedError | asyncpg.UndefinedFileError) and "vector" in str(error):
        return ValidationError(supported.NO_PGVECTOR)
    return translated(error)
