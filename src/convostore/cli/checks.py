"""What `convostore doctor` checks: each check returns what it found, or raises what is wrong with its remedy."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from convostore import supported
from convostore.cli.targets import Check, DoubtfulError, Target, connected, pool_of, servers_at
from convostore.cli.upkeep import audit_trail, persistence, sweeper, text_search, vector_indexes
from convostore.errors import ValidationError
from convostore.models.fields import now
from convostore.postgres import PostgresConfigStore, driver, schema_version
from convostore.postgres.checking import DISTRIBUTED
from convostore.postgres.driver import Pooler
from convostore.postgres.migrations import HEAD, VERSIONS
from convostore.redis import check_eviction, create_client
from convostore.redis.client import UNCHECKED_EVICTION
from convostore.tiered.copies import HotCopies

_PGVECTOR = """
SELECT coalesce(installed_version, default_version) FROM pg_available_extensions WHERE name = 'vector'
"""
_UNPROTECTED = """
SELECT c.relname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
WHERE c.relnamespace = 'convostore'::regnamespace AND c.relkind IN ('r', 'p')
  AND NOT (c.relrowsecurity AND c.relforcerowsecurity) ORDER BY 1
"""
_ANY = "SELECT t.tenant_id FROM convostore.{} AS t LIMIT 1"
_INVALID = """
SELECT c.relname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE c.relnamespace = 'convostore'::regnamespace AND NOT i.indisvalid ORDER BY 1
"""
_CONNECTIONS = """
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
    - current_setting('reserved_connections')::int - count(*) AS free
FROM pg_stat_activity WHERE backend_type = 'client backend'
"""
_NEXT_MONTH = """
SELECT to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => n), 'YYYY_MM') AS month
FROM generate_series(0, 1) AS n
WHERE to_regclass('convostore.audit_body_'
    || to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => n), 'YYYY_MM')) IS NULL
"""

_LIMITS = {
    "client_connection_check_interval": "'500ms'",
    "idle_in_transaction_session_timeout": "'5s'",
    "lock_timeout": "'5s'",
    "transaction_timeout": "'5s'",
}
"""What connections are given elsewhere, and by a pooler in transaction mode only have from their user."""
_UNLIMITED = "SELECT name FROM pg_settings WHERE name = ANY ($1) AND setting = '0' ORDER BY name"
_ROUNDS = 5

_SKEW = 1.0
"""Seconds by which clocks may differ: revisions do not depend on them, but idle times and audit months do."""
_UNKNOWN = "a version that could not be checked, because the user may not call INFO"


async def postgresql(target: Target) -> str:
    async with connected(target) as connection:
        release = driver.release_of(connection)
    supported.check("PostgreSQL", release)
    return release


async def pgvector(target: Target) -> str:
    async with connected(target) as connection:
        found: str | None = await connection.fetchval(_PGVECTOR)
    if found is None:
        raise ValidationError(supported.NO_PGVECTOR)
    supported.check("pgvector", found)
    return found


async def encoding(target: Target) -> str:
    async with connected(target) as connection:
        found: str = await connection.fetchval("SHOW server_encoding")
    supported.check_encoding(found)
    return found


async def schema(target: Target) -> str:
    version = await schema_version(target.postgres_url)
    if version not in VERSIONS:
        return f"{version}, of a newer release, which declares that this one works with it"
    if version != HEAD:
        raise ValidationError(f"at {version}, this release works with {HEAD}; run: convostore migrate")
    return f"{version}{await _nodes(target)}"


async def role(target: Target) -> str:
    async with await pool_of(target) as pool:
        report = (await PostgresConfigStore(pool)._health())["postgres"]
    if not report.ok:
        raise ValidationError(report.problem or "")
    return f"connections run as {report.role}"


async def isolation(target: Target) -> str:
    async with await pool_of(target) as pool, pool.acquire() as connection:
        unprotected = [name for (name,) in await connection.fetch(_UNPROTECTED)]
        seen = [await connection.fetchval(_ANY.format(table)) for table in ("agent", "session", "episode", "profile")]
    if any(seen) or unprotected:
        what = (
            f"without row-level security: {', '.join(unprotected)}" if unprotected else "rows are seen without a tenant"
        )
        raise ValidationError(f"{what}; let connections run as convostore_app, and run: convostore migrate")
    return "no row is seen without its tenant, by row-level security on every table"


async def indexes(target: Target) -> str:
    async with connected(target) as connection:
        invalid = [name for (name,) in await connection.fetch(_INVALID)]
    if invalid:
        raise DoubtfulError(f"{', '.join(invalid)} invalid; run: REINDEX INDEX CONCURRENTLY convostore.{invalid[0]}")
    return "all are valid"


async def months(target: Target) -> str:
    async with connected(target) as connection:
        missing = [month for (month,) in await connection.fetch(_NEXT_MONTH)]
    if missing:
        raise DoubtfulError(f"no partition for {' and '.join(missing)}; run: convostore sweep")
    return "this month and the next have a partition"


async def connections(target: Target) -> str:
    async with connected(target) as connection:
        free = await connection.fetchval(_CONNECTIONS)
    if target.pool_size > free:
        raise DoubtfulError(f"{free} left, and a process opens up to {target.pool_size}; lower pool_size")
    return f"{free} left, enough for {free // target.pool_size} more processes of {target.pool_size}"


async def pooler(target: Target) -> str:
    async with connected(target) as connection:
        found = await _mode(target, connection) if await driver.is_pooled(connection) else None
        limits = [name for (name,) in await connection.fetch(_UNLIMITED, [*_LIMITS])] if found == "transaction" else []
        login = await connection.fetchval("SELECT quote_ident(session_user)")
    if found is None and target.pooler is None:
        return "none stands between"
    if found is None:
        raise DoubtfulError(f'none stands between; leave pooler="{target.pooler}" (CONVOSTORE_POOLER) away')
    one = f"one in {found} mode stands between"
    if target.pooler is None or (target.pooler, found) == ("session", "transaction"):
        raise ValidationError(f'{one}; set pooler="{found}" (CONVOSTORE_POOLER={found})')
    if target.pooler != found:
        raise DoubtfulError(f'{one}; pooler="{found}" caches statements, which saves round trips')
    if limits:
        wanted = "; ".join(f"ALTER ROLE {login} SET {name} = {_LIMITS[name]}" for name in limits)
        raise DoubtfulError(f"{one}, and its connections lack settings; run: {wanted}")
    return one


async def _mode(target: Target, connection: Any) -> Pooler:
    """Return the mode of a pooler: only one in transaction mode gives one session to two open connections."""
    async with connected(target) as other:
        pids: tuple[set[int], set[int]] = (set(), set())
        for _ in range(_ROUNDS):
            for each, seen in zip((connection, other), pids, strict=True):
                seen.add(await each.fetchval("SELECT pg_backend_pid()"))
    return "transaction" if pids[0] & pids[1] else "session"


async def clock(target: Target) -> str:
    async with connected(target) as connection:
        before, at = now(), await connection.fetchval("SELECT clock_timestamp()")
    return _skew(before, at, now())


async def redis(target: Target) -> str:
    async with servers_at(target) as found:
        told, primaries = await found.versions() or _UNKNOWN, len(await found.primaries())
    for version in told.split(" and "):
        name, _, number = version.partition(" ")
        if doubt := supported.problem(name, number, supported.ADVISED):
            raise DoubtfulError(doubt)
    return f"{told} on {primaries} primaries of a cluster" if primaries > 1 else told


_NODES = """
SELECT count(*) AS nodes, count(*) FILTER (WHERE NOT n.isactive) AS inactive,
    count(*) FILTER (WHERE n.shouldhaveshards) AS with_shards,
    (SELECT count(*) FROM pg_dist_shard AS s JOIN pg_class AS c ON c.oid = s.logicalrelid
     WHERE c.relnamespace = 'convostore'::regnamespace) AS shards
FROM pg_dist_node AS n WHERE n.noderole = 'primary'
"""


async def _nodes(target: Target) -> str:
    """Return what nodes and shards there are, nothing without Citus."""
    async with connected(target) as connection:
        if not await connection.fetchval("SELECT to_regclass('pg_dist_node') IS NOT NULL"):
            return ""
        distributed, found = await connection.fetchval(f"SELECT {DISTRIBUTED}"), await connection.fetchrow(_NODES)
    if not distributed:
        raise DoubtfulError("Citus is there, and no table is distributed; run: convostore migrate --citus")
    if found["inactive"]:
        raise DoubtfulError(f"{found['inactive']} of {found['nodes']} nodes are not active; see pg_dist_node")
    return f", {found['shards']} shards on {found['with_shards']} of {found['nodes']} nodes"


async def copies(target: Target) -> str:
    async with create_client(target.redis_url, max_connections=1) as client:
        await HotCopies(client).examine()
    return "the user may do all that they take, on a primary"


async def eviction(target: Target) -> str:
    async with create_client(target.redis_url, max_connections=1) as client:
        try:
            if not await check_eviction(client):
                raise DoubtfulError(UNCHECKED_EVICTION)
        except DoubtfulError:
            raise
        except ValidationError:
            return "may evict hot copies, which loses nothing; RedisSessionStore would refuse this server"
    return "evicts no copies"


async def redis_clock(target: Target) -> str:
    async with servers_at(target) as found:
        before, times = now(), await found.everywhere(lambda connection: connection.execute("TIME"))
    at = [datetime.fromtimestamp(int(seconds) + int(micros) / 1e6, before.tzinfo) for seconds, micros in times]
    return _skew(before, max(at, key=lambda each: abs(each - before)), now())


def _skew(before: datetime, at: datetime, after: datetime) -> str:
    skew = max((before - at).total_seconds(), (at - after).total_seconds(), 0.0)
    if skew > _SKEW:
        raise DoubtfulError(f"{skew:.1f} s apart from this machine's; synchronise them by NTP")
    return "within a second of this machine's"


CHECKS = (
    Check("PostgreSQL", (), postgresql),
    Check("pooler", ("PostgreSQL",), pooler),
    Check("pgvector", ("PostgreSQL",), pgvector),
    Check("encoding", ("PostgreSQL",), encoding),
    Check("schema", ("pgvector",), schema),
    Check("application role", ("pooler", "schema"), role),
    Check("isolation", ("application role",), isolation),
    Check("indexes", ("schema",), indexes),
    Check("audit months", ("schema",), months),
    Check("audit trail", ("application role",), audit_trail),
    Check("sweeper", ("application role",), sweeper),
    Check("vector indexes", ("schema",), vector_indexes),
    Check("text search", ("schema",), text_search),
    Check("connections", ("PostgreSQL",), connections),
    Check("clock of PostgreSQL", ("PostgreSQL",), clock),
    Check("Redis or Valkey", (), redis),
    Check("hot copies", ("Redis or Valkey",), copies),
    Check("eviction", ("Redis or Valkey",), eviction),
    Check("persistence", ("Redis or Valkey",), persistence),
    Check("clock of Redis or Valkey", ("Redis or Valkey",), redis_clock),
)
"""In the order in which they run: a check stands after the one that it needs."""
