"""The steps of making, filling and dropping tables of large spaces; each may be the last of its process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from convostore.postgres.spaces import table_name
from convostore.postgres.tenancy import BIND_TENANT

PATIENCE = "100ms"
"""For how long a step waits for a lock that writers hold: less than they wait before they look for a deadlock."""

_POLL = 0.2
_BATCH = 1_000

_CREATE = """
CREATE TABLE convostore.{name} (
    tenant_id uuid NOT NULL CHECK (tenant_id = '{tenant}'),
    id uuid NOT NULL,
    agent_id uuid NOT NULL,
    customer_profile_id uuid,
    session_id uuid,
    group_id uuid NOT NULL,
    content_type text NOT NULL,
    model_hash bigint,
    occurred_at timestamptz NOT NULL,
    valid_from timestamptz,
    valid_to timestamptz,
    dimensions smallint NOT NULL,
    direction {schema}.halfvec({dimensions}) STORAGE MAIN NOT NULL,
    PRIMARY KEY (tenant_id, id)
)
"""
# m edges per node and layer, ef_construction candidates per insertion: Malkov and Yashunin, "Efficient and robust
# approximate nearest neighbor search using HNSW graphs", 2018. The predicate is true of every row: see `approximate`.
_INDEX = """
CREATE INDEX CONCURRENTLY {name}_hnsw ON convostore.{name}
USING hnsw (direction {schema}.halfvec_ip_ops) WITH (m = 24, ef_construction = 200) WHERE dimensions > 0
"""

# FOR SHARE waits for what is being changed or deleted, and lets others change or delete it when the copy is there.
_COPY = f"""
WITH batch AS MATERIALIZED (
    SELECT t.tenant_id, t.id, t.agent_id, t.customer_profile_id, t.session_id, t.group_id, t.content_type, t.model_hash,
           t.occurred_at, t.valid_from, t.valid_to, t.dimensions, t.direction
    FROM convostore.episode AS t
    WHERE {BIND_TENANT} AND t.tenant_id = $1 AND t.dimensions = $2 AND ($3::uuid IS NULL OR t.id > $3)
    ORDER BY t.id LIMIT {_BATCH} FOR SHARE
), copied AS (
    INSERT INTO convostore.{{name}} (
        tenant_id, id, agent_id, customer_profile_id, session_id, group_id, content_type, model_hash, occurred_at,
        valid_from, valid_to, dimensions, direction)
    SELECT * FROM batch WHERE {BIND_TENANT} ON CONFLICT (tenant_id, id) DO NOTHING
)
SELECT id, count(*) OVER () AS count FROM batch ORDER BY id DESC LIMIT 1
"""

_REGISTER = (
    f"INSERT INTO convostore.large_space (tenant_id, dimensions, ready) SELECT $1, $2, false WHERE {BIND_TENANT}"
)
_MARK = f"""
UPDATE convostore.large_space AS l SET ready = true WHERE {BIND_TENANT} AND l.tenant_id = $1 AND l.dimensions = $2
"""
_UNREGISTER = f"""
DELETE FROM convostore.large_space AS l WHERE {BIND_TENANT} AND l.tenant_id = $1 AND l.dimensions = $2
"""

# A vacuum reads no registration and writes no row.
_HOLDERS = """
SELECT DISTINCT l.virtualtransaction FROM pg_catalog.pg_locks AS l
WHERE l.relation = 'convostore.episode'::regclass AND l.mode <> 'ShareUpdateExclusiveLock'
  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
  AND l.pid IS DISTINCT FROM pg_backend_pid()
"""

_PROGRESS = """
SELECT phase, blocks_done::float / nullif(blocks_total, 0) AS share FROM pg_stat_progress_create_index WHERE pid = $1
"""

_VECTOR_SCHEMA = """
SELECT quote_ident(n.nspname) FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
WHERE e.extname = 'vector'
"""


@dataclass(frozen=True)
class Space:
    """The vectors of one tenant and number of dimensions."""

    tenant_id: UUID
    dimensions: int
    episodes: int

    @property
    def table(self) -> str:
        """The name of its table, if it has one."""
        return table_name(self.tenant_id, self.dimensions)


Watch = Callable[[Space, str, float], None]
"""Receives the space, and what is done with the share of it that is done, 0 to 1: copying, then the phase of
pg_stat_progress_create_index."""


@dataclass(frozen=True)
class Steps:
    """The steps.

    Attributes:
        owner: a connection of the owner of the schema, for tables and indexes.
        keeper: one of the maintenance role, for rows.
        watch: receives the progress.
    """

    owner: Any
    keeper: Any
    watch: Watch

    async def register(self, space: Space) -> None:
        """Make a space's table, and let writes copy to it."""
        async with self.owner.transaction():
            await self.owner.execute(_CREATE.format(**await self._names(space)))
            await self.owner.execute(f"CALL convostore.protect('convostore.{space.table}')")
        await self.keeper.execute(_REGISTER, space.tenant_id, space.dimensions)

    async def unregister(self, space: Space) -> None:
        """Let writes no longer copy to a space's table, and searches no longer read it."""
        await self.keeper.execute(_UNREGISTER, space.tenant_id, space.dimensions)

    async def wait_for_others(self) -> None:
        """Wait for the end of every transaction that has used the table of episodes so far.

        Those that write later see what is registered, and copying sees what those before have written.
        """
        waiting = {name for (name,) in await self.keeper.fetch(_HOLDERS)}
        while waiting:
            await asyncio.sleep(_POLL)
            waiting &= {name for (name,) in await self.keeper.fetch(_HOLDERS)}

    async def build(self, space: Space) -> None:
        """Copy to a space's table what was there before it was registered, and index it."""
        await self._copy(space)
        await self.owner.execute(f"DROP INDEX CONCURRENTLY IF EXISTS convostore.{space.table}_hnsw")
        await self._index(space, _INDEX.format(**await self._names(space)))
        await self.owner.execute(f"ANALYZE convostore.{space.table}")
        await self.keeper.execute(_MARK, space.tenant_id, space.dimensions)

    async def drop(self, table: str) -> None:
        """Drop a table that is not registered."""
        while True:
            try:
                async with self.owner.transaction():
                    await self.owner.execute(f"SET LOCAL lock_timeout = '{PATIENCE}'")
                    await self.owner.execute(f"DROP TABLE IF EXISTS convostore.{table}")
                return
            except asyncpg.LockNotAvailableError:
                await asyncio.sleep(_POLL)

    async def _copy(self, space: Space) -> None:
        last, done = None, 0
        while True:
            try:
                row = await self.keeper.fetchrow(
                    _COPY.format(name=space.table), space.tenant_id, space.dimensions, last
                )
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                await asyncio.sleep(_POLL)
                continue
            if row is None:
                return
            last, done = row["id"], done + row["count"]
            self.watch(space, "copying", min(done / space.episodes, 1.0))

    async def _index(self, space: Space, statement: str) -> None:
        building = asyncio.create_task(self.owner.execute(statement))
        try:
            while not (await asyncio.wait({building}, timeout=_POLL))[0]:
                row = await self.keeper.fetchrow(_PROGRESS, self.owner.get_server_pid())
                if row:
                    self.watch(space, row["phase"], row["share"] or 0.0)
            await building
        finally:
            building.cancel()

    async def _names(self, space: Space) -> dict[str, Any]:
        schema = await self.owner.fetchval(_VECTOR_SCHEMA)
        return {"name": space.table, "tenant": space.tenant_id, "dimensions": space.dimensions, "schema": schema}
