"""What episodes are found by, made anew where an earlier release has stored them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from convostore.domain.text import search_text
from convostore.postgres.database import Database
from convostore.postgres.errors import translated
from convostore.postgres.queries import queries


class Batch(NamedTuple):
    """Episodes that were looked at.

    Attributes:
        after: the id of the last one: the cursor from which another run goes on.
        episodes: how many there were.
        changed: how many of them are found by other words now.
    """

    after: UUID
    episodes: int
    changed: int


async def reindex_text(
    pool: asyncpg.Pool[Any], tenant_id: UUID, *, after: UUID | None = None, batch: int = 500
) -> AsyncGenerator[Batch, None]:
    """Let a tenant's episodes be found as this release lets them, and yield each batch, by id, once it is stored.

    Episodes that are found so already stay untouched, those of 100,000 bytes and more excepted. Contents never change,
    so searches and writes go on meanwhile.

    Args:
        pool: of connections as `convostore_maintenance`.
        tenant_id: the tenant.
        after: the cursor of an earlier run; None to begin.
        batch: the episodes per statement, 1 or more.

    Raises:
        ConnectionError: the server cannot be reached any more.
    """
    database = Database(pool)
    try:
        while rows := await database.fetch(*queries("memory").texts(tenant_id=tenant_id, after_id=after, limit=batch)):
            ids, texts = [row["id"] for row in rows], [search_text(row["content"]) for row in rows]
            given = queries("memory").reindex_texts(tenant_id=tenant_id, episode_ids=ids, search_texts=texts)
            changed = await database.fetchval(*given)
            after = ids[-1]
            yield Batch(after, len(rows), changed)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise translated(error) from error
