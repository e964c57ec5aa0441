"""What `convostore doctor` checks of the upkeep: the audit trail, the sweeper, searches, what Redis keeps."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import asyncpg

from convostore.cli.targets import DoubtfulError, Target, connected, pool_of, servers_at
from convostore.errors import StoreError, ValidationError
from convostore.models.fields import now
from convostore.postgres import PostgresAuditStore
from convostore.postgres.checking import DISTRIBUTED
from convostore.postgres.reindexing import spaces_to_index
from convostore.postgres.spaces import EXACT_ROWS
from convostore.postgres.text_reindexing import tenants_to_reindex

# Where tables are distributed, a table that every node has takes no trigger, and those of shards have other names.
_CHANGEABLE = f"""
SELECT c.relname FROM pg_class AS c
WHERE c.relnamespace = 'convostore'::regnamespace AND c.relkind IN ('r', 'p')
  AND (c.relname ~ '^audit_(record|body(_[0-9]{{4}}_[0-9]{{2}})?)$'
      OR c.relname = 'audit_retention' AND NOT {DISTRIBUTED})
  AND NOT EXISTS (
      SELECT FROM pg_trigger AS t WHERE t.tgrelid = c.oid AND t.tgname = 'is_append_only' AND t.tgenabled = 'A')
ORDER BY 1
"""  # noqa: S608
_TENANTS = "SELECT tenant_id FROM convostore.old_sessions(now() + interval '1 day', 1000) ORDER BY 1 LIMIT 10"
_OLD = "SELECT coalesce(sum(cardinality(session_ids)), 0) FROM convostore.old_sessions($1, 1000)"
_NOT_AHEAD = """
SELECT to_char(month, 'YYYY-MM')
FROM (SELECT date_trunc('month', now() AT TIME ZONE 'UTC') + interval '2 months' AS month) AS ahead
WHERE to_regclass('convostore.audit_body_' || to_char(month, 'YYYY_MM')) IS NULL
"""
_NO_MAINTENANCE = "could not be checked; GRANT convostore_maintenance TO the user of the URL"
_LATE = timedelta(hours=1)
"""How much longer than max_age a session may be there."""


async def audit_trail(target: Target) -> str:
    """The tables refuse changes, and heads of chains, of tenants with the oldest sessions, fit their records."""
    async with connected(target) as connection:
        changeable = [name for (name,) in await connection.fetch(_CHANGEABLE)]
    if changeable:
        raise ValidationError(
            f"{', '.join(changeable)} may be changed; run: CALL convostore.make_append_only("
            f"'convostore.{changeable[0]}'), and convostore audit verify to see what was"
        )
    chains = 0
    async with await pool_of(target) as pool:
        tenants: list[UUID] = [tenant for (tenant,) in await pool.fetch(_TENANTS)]
        for tenant in tenants:
            heads = await PostgresAuditStore(pool).list_heads(tenant)
            if any((head.sequence, head.hash) != (head.recorded, head.recorded_hash) for head in heads):
                raise ValidationError(f"a head contradicts its records; run: convostore audit verify {tenant}")
            chains += len(heads)
    return f"its tables refuse changes, and the heads of {chains} chains of {len(tenants)} tenants fit their records"


async def sweeper(target: Target) -> str:
    """A sweeper makes months of the audit trail ahead, and deletes what is older than max_age."""
    async with await pool_of(target) as pool:
        missing = await pool.fetchval(_NOT_AHEAD)
        old = 0
        if target.max_age:
            old = await pool.fetchval(_OLD, now() - timedelta(seconds=target.max_age) - _LATE)
    if missing or old:
        found = f"there is no partition for {missing}" if missing else f"{old} sessions are older than max_age"
        raise DoubtfulError(f"{found}: none has run for long; let open_stores sweep, or cron run: convostore sweep")
    return "one has run: months are prepared, and no session is older than max_age"


async def vector_indexes(target: Target) -> str:
    """Every space that is too large to be searched exactly has an index."""
    try:
        async with connected(target) as connection:
            if await connection.fetchval(f"SELECT {DISTRIBUTED}"):
                return "none: where tables are distributed, vectors are searched exactly"
            due = await spaces_to_index(connection)
    except asyncpg.InsufficientPrivilegeError as error:
        raise DoubtfulError(_NO_MAINTENANCE) from error
    if due:
        tenants = len({space.tenant_id for space in due})
        lacking = f"{tenants} tenants have more than {EXACT_ROWS:,} vectors without one"
        raise DoubtfulError(f"{lacking}; run: convostore memory reindex")
    return "no tenant needs one that is missing"


async def text_search(target: Target) -> str:
    """What an earlier release has stored is found as this one lets it be."""
    try:
        async with connected(target) as connection:
            due, looked_at = await tenants_to_reindex(connection)
    except asyncpg.InsufficientPrivilegeError as error:
        raise DoubtfulError(_NO_MAINTENANCE) from error
    if due:
        raise DoubtfulError(f"{due} of {looked_at} tenants have texts to reindex; run: convostore memory reindex-text")
    return f"the oldest texts of {looked_at} tenants are found as this release lets them"


async def persistence(target: Target) -> str:
    """What the servers write to disk is written; hot copies need none of it."""
    async with servers_at(target) as found:
        try:
            facts = await found.everywhere(lambda connection: connection.info("persistence"))
        except StoreError as error:
            if error.code != "NOPERM":
                raise
            raise DoubtfulError("could not be checked, because the user may not call INFO") from error
    for each in facts:
        if "err" in (each.get("rdb_last_bgsave_status"), each.get("aof_last_write_status")):
            raise DoubtfulError("cannot write to its disk, and may refuse writes then; free space, and see its log")
    if all(each.get("aof_enabled") == "1" for each in facts):
        return "appendonly keeps what is stored"
    return "keeps snapshots at most, which loses hot copies alone; RedisSessionStore needs appendonly yes"
