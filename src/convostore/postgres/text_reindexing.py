"""What texts are found by, made anew where an earlier release has stored them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from convostore.domain.declaration import Declaration
from convostore.domain.declarations import DECLARATIONS
from convostore.postgres.database import Database
from convostore.postgres.errors import translated
from convostore.postgres.mapping import quoted
from convostore.postgres.tenancy import BIND_TENANT, BOUND

KINDS: dict[str, Declaration[Any]] = {each.name: each for each in DECLARATIONS if "search_text" in each.computed}
"""What is found by a text, by kind, in the order in which it is looked at."""

_STALE = {
    # A tsvector that is too long to be made twice is made once.
    "episode": "CASE WHEN octet_length(given.search_text) < 100000 THEN t.words <> convostore.words_of("
    "t.tenant_id, t.agent_id, t.customer_profile_id, t.language, given.search_text) ELSE true END"
}


class Cursor(NamedTuple):
    """The last row that was looked at, from which another run goes on."""

    kind: str
    id: UUID


class Batch(NamedTuple):
    """Rows of one kind that were looked at.

    Attributes:
        after: the last one.
        rows: how many there were.
        changed: how many of them are found by other words now.
    """

    after: Cursor
    rows: int
    changed: int


async def reindex_text(
    pool: asyncpg.Pool[Any], tenant_id: UUID, *, after: Cursor | None = None, batch: int = 500
) -> AsyncGenerator[Batch, None]:
    """Let a tenant's texts be found as this release lets them, and yield each batch, by kind and id, once it is stored.

    Rows that are found so already stay untouched, episodes of 100,000 bytes and more excepted. Searches and writes go
    on meanwhile: a row whose text is another one by now is found so since that write.

    Args:
        pool: of connections as `convostore_maintenance`.
        tenant_id: the tenant.
        after: the cursor of an earlier run, its kind one of `KINDS`; None to begin.
        batch: the rows per statement, 1 or more.

    Raises:
        ConnectionError: the server cannot be reached any more.
    """
    database = Database(pool)
    kinds = [*KINDS]
    try:
        for kind in kinds[kinds.index(after.kind) if after else 0 :]:
            _, found_by = KINDS[kind].computed["search_text"]
            last = after.id if after and after.kind == kind else None
            while rows := await database.fetch(read(KINDS[kind]), tenant_id, last, batch):
                given = [(id, text, made) for id, text in rows if (made := found_by(text)) is not None]
                columns = map(list, zip(*given, strict=True))
                changed = await database.fetchval(write(KINDS[kind]), tenant_id, *columns) if given else 0
                last = rows[-1]["id"]
                yield Batch(Cursor(kind, last), len(rows), changed)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise translated(error) from error


def read(declaration: Declaration[Any]) -> str:
    """SELECT texts by id; parameters: tenant, the id before or NULL, limit."""
    field, _ = declaration.computed["search_text"]
    return (
        f"SELECT t.id, t.{quoted(field)} FROM convostore.{declaration.name} AS t WHERE {BIND_TENANT} "
        "AND t.tenant_id = $1 AND ($2::uuid IS NULL OR t.id > $2) ORDER BY t.id LIMIT $3::bigint"
    )


def write(declaration: Declaration[Any]) -> str:
    """UPDATE what rows are found by, where it differs and the text is still the same; return how many were changed.

    Parameters: tenant, arrays of ids, texts, and what they are found by.
    """
    field, _ = declaration.computed["search_text"]
    stale = _STALE.get(declaration.name, "t.words IS DISTINCT FROM given.search_text")
    return (
        f"WITH {BOUND}, stale AS MATERIALIZED (SELECT t.id, given.search_text "
        "FROM unnest($2::uuid[], $3::text[], $4::text[]) AS given (id, text, search_text) "
        f"JOIN convostore.{declaration.name} AS t ON t.id = given.id WHERE (TABLE bound) AND t.tenant_id = $1 "
        f"AND t.{quoted(field)} = given.text AND {stale} ORDER BY t.id FOR NO KEY UPDATE OF t), "
        f"changed AS (UPDATE convostore.{declaration.name} AS t SET search_text = stale.search_text FROM stale "
        "WHERE (TABLE bound) AND t.tenant_id = $1 AND t.id = stale.id RETURNING t.id) SELECT count(*) FROM changed"
    )
