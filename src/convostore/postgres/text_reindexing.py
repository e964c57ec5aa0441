"""What texts are found by, made anew where an earlier release has stored them."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Collection, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from convostore.domain.declaration import Declaration
from convostore.domain.declarations import DECLARATIONS
from convostore.errors import ValidationError
from convostore.postgres.database import Database
from convostore.postgres.errors import translated
from convostore.postgres.mapping import quoted
from convostore.postgres.pool import MAINTENANCE_ROLE
from convostore.postgres.tenancy import BIND_TENANT, BOUND

KINDS: dict[str, Declaration[Any]] = {each.name: each for each in DECLARATIONS if "search_text" in each.computed}
"""What is found by a text, by kind, in the order in which it is looked at."""

_STALE = {
    # A tsvector that is too long to be made twice is made once.
    "episode": "CASE WHEN octet_length(given.search_text) < 100000 THEN t.words <> convostore.words_of("
    "t.tenant_id, t.agent_id, t.customer_profile_id, t.language, given.search_text) ELSE true END"
}


_TENANTS = "SELECT * FROM convostore.text_tenants()"

_SAMPLE = 100
"""How many tenants, and oldest texts of each kind of theirs, are looked at to see whether any is to be reindexed."""


class Cursor(NamedTuple):
    """The last row that was looked at, from which another run goes on."""

    tenant_id: UUID
    kind: str
    id: UUID

    def __str__(self) -> str:
        """Return what `read_cursor` reads."""
        return ":".join(map(str, self))


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


def read_cursor(text: str) -> Cursor:
    """Return the cursor that a text says.

    Raises:
        ValidationError: it says none.
    """
    try:
        tenant, kind, last = text.split(":")
        cursor = Cursor(UUID(tenant), kind, UUID(last))
    except ValueError:
        cursor = None
    if cursor is None or cursor.kind not in KINDS:
        raise ValidationError("after: is no cursor, which are TENANT:KIND:ID")
    return cursor


async def reindex_text(
    pool: asyncpg.Pool[Any], tenants: Collection[UUID] = (), *, after: Cursor | None = None, batch: int = 500
) -> AsyncGenerator[Batch, None]:
    """Let texts be found as this release lets them; yield each batch, by tenant, kind and id, once it is stored.

    Rows that are found so already stay untouched, episodes of 100,000 bytes and more excepted. Searches and writes go
    on meanwhile: a row whose text is another one by now is found so since that write.

    Args:
        pool: of connections as `convostore_maintenance`.
        tenants: whose texts; empty for every tenant that has any.
        after: the cursor of an earlier run, its kind one of `KINDS`; None to begin.
        batch: the rows per statement, 1 or more.

    Raises:
        ConnectionError: the server cannot be reached any more.
    """
    database = Database(pool)
    kinds = [*KINDS]
    try:
        for tenant in sorted(tenants or [tenant for (tenant,) in await database.fetch(_TENANTS)]):
            if after and tenant < after.tenant_id:
                continue
            left = after if after and tenant == after.tenant_id else None
            for kind in kinds[kinds.index(left.kind) if left else 0 :]:
                last = left.id if left and left.kind == kind else None
                while rows := await database.fetch(read(KINDS[kind]), tenant, last, batch):
                    given = _found_by(KINDS[kind], rows)
                    changed = await database.fetchval(write(KINDS[kind]), tenant, *given) if given[0] else 0
                    last = rows[-1]["id"]
                    yield Batch(Cursor(tenant, kind, last), len(rows), changed)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise translated(error) from error


async def tenants_to_reindex(connection: Any) -> tuple[int, int]:
    """Return for how many tenants `reindex_text` would change texts, and how many were looked at.

    These are 100 at random, and of each the first texts by id, which are the oldest where ids are of version 7.

    Raises:
        asyncpg.InsufficientPrivilegeError: the user is not a member of `convostore_maintenance`.
    """
    async with connection.transaction():
        # Citus sends SET LOCAL to its other connections, too, whose roles may not take this one.
        await connection.execute("SELECT set_config('role', $1, true)", MAINTENANCE_ROLE)
        tenants = [tenant for (tenant,) in await connection.fetch(_TENANTS)]
        looked_at = random.sample(tenants, min(len(tenants), _SAMPLE))
        due = 0
        for tenant in looked_at:
            for declaration in KINDS.values():
                rows = await connection.fetch(read(declaration), tenant, None, _SAMPLE)
                if await connection.fetchval(stale(declaration), tenant, *_found_by(declaration, rows)):
                    due += 1
                    break
    return due, len(looked_at)


def _found_by(declaration: Declaration[Any], rows: Sequence[Any]) -> list[list[Any]]:
    """Return ids, texts, and what these are found by, as columns; of those alone that the server does not make out."""
    _, found_by = declaration.computed["search_text"]
    given = [(id, text, made) for id, text in rows if (made := found_by(text)) is not None]
    return [[row[column] for row in given] for column in range(3)]


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
    return (
        f"WITH {BOUND}, stale AS MATERIALIZED ({_stale(declaration, 't.id, given.search_text')} "
        "ORDER BY t.id FOR NO KEY UPDATE OF t), "
        f"changed AS (UPDATE convostore.{declaration.name} AS t SET search_text = stale.search_text FROM stale "
        "WHERE (TABLE bound) AND t.tenant_id = $1 AND t.id = stale.id RETURNING t.id) SELECT count(*) FROM changed"
    )


def stale(declaration: Declaration[Any]) -> str:
    """SELECT whether `write` would change a row; the same parameters."""
    return f"WITH {BOUND} SELECT EXISTS ({_stale(declaration, '')})"


def _stale(declaration: Declaration[Any], selected: str) -> str:
    field, _ = declaration.computed["search_text"]
    condition = _STALE.get(declaration.name, "t.words IS DISTINCT FROM given.search_text")
    return (
        f"SELECT {selected} FROM unnest($2::uuid[], $3::text[], $4::text[]) AS given (id, text, search_text) "
        f"JOIN convostore.{declaration.name} AS t ON t.id = given.id WHERE (TABLE bound) AND t.tenant_id = $1 "
        f"AND t.{quoted(field)} = given.text AND {condition}"
    )
