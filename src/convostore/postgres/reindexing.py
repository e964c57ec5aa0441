"""Gives large spaces tables with HNSW indexes, and drops those of small ones, while reads and writes go on."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from convostore.errors import ConflictError, StoreError, ValidationError
from convostore.postgres import driver
from convostore.postgres.checking import DISTRIBUTED
from convostore.postgres.errors import translated
from convostore.postgres.large_spaces import PATIENCE, Space, Steps, Watch
from convostore.postgres.pool import MAINTENANCE_ROLE, connect, require_session
from convostore.postgres.queries import queries
from convostore.postgres.spaces import EXACT_ROWS, TABLE_PREFIX, table_name

REINDEX_EVERY = 3_600.0
"""Seconds between two searches for spaces that have become large."""

_LOCK = 0x7265696E646578  # "reindex": the advisory lock of a reindexing process

_SPACES = "SELECT * FROM convostore.vector_spaces_above($1)"
_EMBEDDED = "SELECT * FROM convostore.tenants_with_embeddings() ORDER BY 1"
_REGISTERED = "SELECT * FROM convostore.large_spaces()"
_TABLES = """
SELECT c.relname FROM pg_catalog.pg_class AS c
WHERE c.relnamespace = 'convostore'::regnamespace AND c.relkind = 'r' AND starts_with(c.relname, $1)
"""

_log = logging.getLogger("convostore")


@dataclass(frozen=True)
class Reindexed:
    """The names of the tables that a call built, dropped and kept."""

    built: list[str]
    dropped: list[str]
    kept: list[str]


async def reindex(dsn: str, *, memory: str = "512MB", workers: int = 0, watch: Watch | None = None) -> Reindexed:
    """Give every space of more than 20,000 episodes a table with an index, and drop those of smaller ones.

    Reads and writes go on. Whatever step is interrupted, the next call does what is left.

    Args:
        dsn: the database; its user must be a superuser, or the one that migrated it.
        memory: `maintenance_work_mem` of a build, such as `"512MB"`. The graph should fit: about 3 KiB and 2 bytes per
            dimension for each episode. A build that needs more takes much longer.
        workers: `max_parallel_maintenance_workers`; they share memory in `/dev/shm`.
        watch: receives the progress.

    Raises:
        ConflictError: another process is reindexing.
        ValidationError: `memory` is not a memory size, the user lacks the privileges, a pooler stands between, or
            tables are distributed by tenant.
        ConnectionError: the server cannot be reached.
    """
    async with _connected(dsn, role="convostore_owner") as owner, _connected(dsn, role=MAINTENANCE_ROLE) as keeper:
        if await owner.fetchval(f"SELECT {DISTRIBUTED}"):
            raise ValidationError(
                "reindex: where tables are distributed, vectors are searched exactly; there is no index"
            )
        if not await owner.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
            raise ConflictError("Another process is reindexing.")
        await owner.execute("SELECT set_config('maintenance_work_mem', $1, false)", memory)
        await owner.execute("SELECT set_config('max_parallel_maintenance_workers', $1, false)", str(workers))
        await keeper.execute("SELECT set_config('lock_timeout', $1, false)", PATIENCE)
        steps = Steps(owner, keeper, watch or (lambda *_: None))
        wanted = await _large(keeper)
        known = [Space(row["tenant_id"], row["dimensions"], 0) for row in await keeper.fetch(_REGISTERED)]
        registered = {space.table: space for space in known}
        complete = await _complete(keeper)
        dropped = sorted(registered.keys() - wanted.keys())
        for name in dropped:
            await steps.unregister(registered.pop(name))
        tables = {name for (name,) in await keeper.fetch(_TABLES, TABLE_PREFIX)}
        if left := tables - registered.keys():
            await steps.wait_for_others()
            for name in left:
                await steps.drop(name)
        for name in wanted.keys() - registered.keys():
            await steps.register(wanted[name])
        built = [name for name in wanted if name not in complete]
        if built:
            await steps.wait_for_others()
        for name in built:
            await steps.build(wanted[name])
        return Reindexed(built, dropped, [name for name in wanted if name in complete])


async def reindex_for_ever(dsn: str, first: float) -> None:
    """Do what `reindex` does after so many seconds, and then every hour, with jitter. A failure is logged."""
    every = first
    while True:
        await asyncio.sleep(every * random.uniform(0.9, 1.1))  # noqa: S311
        every = REINDEX_EVERY
        try:
            done = await reindex(dsn)
            if done.built or done.dropped:
                _log.info("Large spaces: %d built, %d dropped.", len(done.built), len(done.dropped))
        except ConflictError:
            continue  # another process does it
        except StoreError as error:
            _log.warning("auto_reindex: %s", error)


async def spaces_to_index(connection: Any) -> list[Space]:
    """Return the spaces for which `reindex` would build an index. The connection may come from any pooler.

    Raises:
        asyncpg.InsufficientPrivilegeError: its user is not a member of `convostore_maintenance`.
    """
    async with connection.transaction():
        await connection.execute("SELECT set_config('role', $1, true)", MAINTENANCE_ROLE)
        complete = await _complete(connection)
        large = await _large(connection)
    return [space for name, space in large.items() if name not in complete]


async def tenants_with_embeddings(dsn: str) -> list[UUID]:
    """Return the tenants that have embeddings, by id.

    Raises:
        ValidationError: the user lacks the privileges.
        ConnectionError: the server cannot be reached.
    """
    async with _connected(dsn, role=MAINTENANCE_ROLE) as connection:
        return [tenant for (tenant,) in await connection.fetch(_EMBEDDED)]


async def _large(connection: Any) -> dict[str, Space]:
    """Return the spaces that need an index, by the names of their tables."""
    return {space.table: space for space in (Space(*row) for row in await connection.fetch(_SPACES, EXACT_ROWS))}


async def _complete(connection: Any) -> set[str]:
    """Return the tables that are ready, with an index that is valid."""
    valid = {name for (name,) in await connection.fetch(*queries("spaces").tables(prefix=TABLE_PREFIX))}
    return {
        table_name(tenant, number) for tenant, number, ready in await connection.fetch(_REGISTERED) if ready
    } & valid


@asynccontextmanager
async def _connected(dsn: str, role: str) -> AsyncIterator[Any]:
    try:
        connection = await connect(dsn)
        try:
            await require_session(connection)
            await connection.execute(f"SET ROLE {role}")
            yield connection
        finally:
            driver.abort(connection)
    except (asyncpg.InsufficientPrivilegeError, asyncpg.InvalidParameterValueError) as error:
        refused = "memory: is not a memory size that PostgreSQL accepts"
        if isinstance(error, asyncpg.InsufficientPrivilegeError):
            refused = "postgres_url: its user is neither a superuser nor the one that migrated the schema"
        raise ValidationError(refused) from error
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise translated(error) from error
