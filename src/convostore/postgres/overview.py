"""What only an operator asks: which tenants there are, which sessions are locked, how much is kept."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from convostore.postgres.database import Database
from convostore.postgres.queries import queries
from convostore.postgres.spaces import TABLE_PREFIX

# Of what only Citus has, so it is no named query. What the coordinator has of a distributed table is not what it holds.
_DISTRIBUTED_SIZES = """
SELECT (SELECT r.relname FROM pg_catalog.pg_class AS r WHERE r.oid = coalesce(pg_partition_root(c.oid), c.oid))
        AS table,
    NULL::bigint AS rows, sum(citus_table_size(c.oid))::bigint AS data,
    sum(citus_total_relation_size(c.oid) - citus_table_size(c.oid))::bigint AS indexes
FROM pg_dist_partition AS p JOIN pg_catalog.pg_class AS c ON c.oid = p.logicalrelid
WHERE c.relnamespace = 'convostore'::regnamespace AND c.relkind = 'r'
GROUP BY 1
ORDER BY 1
"""


class Lock(NamedTuple):
    """The lock of a session.

    Attributes:
        fence: its fencing token.
        until: when it is free if nobody extends it.
    """

    fence: int
    until: datetime


class Size(NamedTuple):
    """The size of a table with its partitions.

    Attributes:
        rows: as the planner estimates them; None before the first ANALYZE, and where tables are distributed.
        data: bytes of rows.
        indexes: bytes of indexes.
    """

    rows: int | None
    data: int
    indexes: int


class Overview:
    """Looks across the stores of one database.

    Args:
        pool: of connections as `convostore_reader`, or as `convostore_maintenance`.
    """

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._database = Database(pool)

    async def login(self) -> str:
        """Return the user of the URL."""
        user: str = await self._database.fetchval(*queries("overview").login())
        return user

    async def tenants(self, *, after: UUID | None = None, limit: int = 100) -> list[UUID]:
        """Return the tenants with an agent, a session, an episode or a profile, deleted ones included, by id.

        Args:
            after: only tenants behind this one.
            limit: the maximum number of results, 1 to 1,000.
        """
        rows = await self._database.fetch(*queries("overview").tenants(after=after, limit=limit))
        return [tenant for (tenant,) in rows]

    async def locks(self, tenant_id: UUID, session_ids: Iterable[UUID]) -> dict[UUID, Lock]:
        """Return the locks of those of a tenant's sessions that are locked, by session."""
        rows = await self._database.fetch(
            *queries("overview").locks(tenant_id=tenant_id, session_ids=list(session_ids))
        )
        return {session: Lock(fence, until) for session, fence, until in rows}

    async def rows(self, tenant_id: UUID) -> dict[str, int]:
        """Return how many rows a tenant has in each table, counted, by table."""
        (row,) = await self._database.fetch(*queries("overview").rows(tenant_id=tenant_id))
        return dict(row.items())

    async def sizes(self, tenant_id: UUID | None = None) -> dict[str, Size]:
        """Return the sizes of tables, by table, of all their shards. Nothing is read but the catalogue.

        Args:
            tenant_id: leave out the tables of other tenants' large spaces, which all count as `large_space`.
        """
        if await self._database.is_distributed():
            rows = await self._database.fetch(_DISTRIBUTED_SIZES)
            return {table: Size(*size) for table, *size in rows}
        prefix = TABLE_PREFIX if tenant_id is None else f"{TABLE_PREFIX}{tenant_id.hex}_"
        rows = await self._database.fetch(*queries("overview").sizes(large_spaces=prefix))
        return {table: Size(*size) for table, *size in rows}
