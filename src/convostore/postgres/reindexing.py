"""HNSW indexes of large spaces, created and dropped CONCURRENTLY by the owner of the schema."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from convostore.errors import ConflictError, ValidationError
from convostore.postgres import driver
from convostore.postgres.errors import translated
from convostore.postgres.pool import MAINTENANCE_ROLE, connect, require_session
from convostore.postgres.spaces import EXACT_ROWS, INDEX_PREFIX, index_name

_LOCK = 0x7265696E646578  # "reindex": the advisory lock of a reindexing process
_POLL = 0.2

_EXISTING = """
SELECT c.relname AS name, i.indisvalid AS complete
FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid = 'convostore.episode'::regclass AND starts_with(c.relname, $1)
"""

_SPACES = "SELECT * FROM convostore.vector_spaces()"
# m edges per node and layer, ef_construction candidates per insertion: Malkov and Yashunin, "Efficient and robust
# approximate nearest neighbor search using HNSW graphs", 2018.
_CREATE = """
CREATE INDEX CONCURRENTLY {name} ON convostore.episode
USING hnsw ((direction::{schema}.halfvec({dimensions})) {schema}.halfvec_ip_ops) WITH (m = 24, ef_construction = 200)
WHERE tenant_id = '{tenant}' AND dimensions = {dimensions}
"""

_PROGRESS = """
SELECT phase, blocks_done::float / nullif(blocks_total, 0) AS share FROM pg_stat_progress_create_index WHERE pid = $1
"""


@dataclass(frozen=True)
class Space:
    """The vectors of one tenant and number of dimensions."""

    tenant_id: UUID
    dimensions: int
    episodes: int


@dataclass(frozen=True)
class Reindexed:
    """The names of the indexes that a call built, dropped and kept."""

    built: list[str]
    dropped: list[str]
    kept: list[str]


Watch = Callable[[Space, str, float], None]
"""Receives the space, and the phase of pg_stat_progress_create_index with the share of it that is done, 0 to 1."""


async def reindex(dsn: str, *, memory: str = "512MB", workers: int = 0, watch: Watch | None = None) -> Reindexed:
    """Give every space of more than 20,000 episodes an index, and drop those of smaller ones. Reads and writes go on.

    An interrupted build leaves an invalid index, which no search uses; the next call drops it and builds it again.

    Args:
        dsn: the database; its user must be a superuser, or the one that migrated it.
        memory: `maintenance_work_mem` of a build, such as `"512MB"`. The graph should fit: about 3 KiB and 2 bytes per
            dimension for each episode. A build that needs more takes much longer.
        workers: `max_parallel_maintenance_workers`; they share memory in `/dev/shm`.
        watch: receives the progress of a build.

    Raises:
        ConflictError: another process is reindexing.
        ValidationError: `memory` is not a memory size, the user lacks the privileges, or a pooler stands between.
        ConnectionError: the server cannot be reached.
    """
    async with _connected(dsn, role="convostore_owner") as owner, _connected(dsn) as watcher:
        if not await owner.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
            raise ConflictError("Another process is reindexing.")
        await owner.execute("SELECT set_config('maintenance_work_mem', $1, false)", memory)
        await owner.execute("SELECT set_config('max_parallel_maintenance_workers', $1, false)", str(workers))
        wanted = _large(await _spaces(dsn))
        existing = dict(await owner.fetch(_EXISTING, INDEX_PREFIX))
        kept = [name for name, complete in existing.items() if complete and name in wanted]
        for name in existing.keys() - kept:
            await owner.execute(f"DROP INDEX CONCURRENTLY convostore.{name}")
        built = [name for name in wanted if name not in kept]
        for name in built:
            building = asyncio.create_task(_build(owner, name, wanted[name]))
            try:
                while not (await asyncio.wait({building}, timeout=_POLL))[0]:
                    row = await watcher.fetchrow(_PROGRESS, owner.get_server_pid())
                    if row and watch:
                        watch(wanted[name], row["phase"], row["share"] or 0.0)
                await building
            finally:
                building.cancel()
        return Reindexed(built, sorted(existing.keys() - wanted.keys()), kept)


async def spaces_to_index(connection: Any) -> list[Space]:
    """Return the spaces for which `reindex` would build an index. The connection may come from any pooler.

    Raises:
        asyncpg.InsufficientPrivilegeError: its user is not a member of `convostore_maintenance`.
    """
    async with connection.transaction():
        await connection.execute(f"SET LOCAL ROLE {MAINTENANCE_ROLE}")
        complete = {name for name, is_complete in await connection.fetch(_EXISTING, INDEX_PREFIX) if is_complete}
        spaces = [Space(*row) for row in await connection.fetch(_SPACES)]
    return [space for name, space in _large(spaces).items() if name not in complete]


async def tenants_with_embeddings(dsn: str) -> list[UUID]:
    """Return the tenants that have embeddings.

    Raises:
        ValidationError: the user lacks the privileges.
        ConnectionError: the server cannot be reached.
    """
    return sorted({space.tenant_id for space in await _spaces(dsn)})


async def _spaces(dsn: str) -> list[Space]:
    async with _connected(dsn, role=MAINTENANCE_ROLE) as connection:
        return [Space(*row) for row in await connection.fetch(_SPACES)]


def _large(spaces: list[Space]) -> dict[str, Space]:
    """Return the spaces that need an index, by its name."""
    return {index_name(s.tenant_id, s.dimensions): s for s in spaces if s.episodes > EXACT_ROWS}


async def _build(owner: Any, name: str, space: Space) -> None:
    schema = await owner.fetchval(
        "SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = "
        "e.extnamespace WHERE e.extname = 'vector'"
    )
    await owner.execute(_CREATE.format(name=name, schema=schema, dimensions=space.dimensions, tenant=space.tenant_id))


@asynccontextmanager
async def _connected(dsn: str, role: str | None = None) -> AsyncIterator[Any]:
    try:
        connection = await connect(dsn)
        try:
            await require_session(connection)
            if role is not None:
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
