"""Distributes the tables of a database by tenant over the nodes of Citus, and prepares what differs there.

Every step looks whether it is done, so an interrupted run is resumed by another. Tables are distributed with what is in
them: see `sharding`. Citus sends a function to the nodes by itself only if a table depends on it (Citus's source,
metadata/dependency.c), so all of them are made again: before the first table, as its shards may call them, and after
the last, as some take rows of tables. What differs in statements is in `tenancy.distributed`; what differs in the
database beside its tables is in `distribution.sql`, and `prepare` runs it, also after a migration that replaced
something of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib.resources import files
from typing import Any

from convostore.domain.declarations import AGENT_OWNED, ENTITY, RELATIONSHIP
from convostore.errors import StoreError
from convostore.postgres.mapping import RowMapping, quoted
from convostore.postgres.migrations.scripts import statements
from convostore.postgres.sharding import distribute_table
from convostore.postgres.tenancy import BIND_TENANT

DISTRIBUTED = (
    *("agent", "rule", "scenario", "template", "variable", "tool_activation", "migration_plan", "scenario_archive"),
    *("episode", "episode_embedding", "entity", "relationship", "large_space"),
    *("session", "session_identity", "copy_generation"),
    *("profile", "channel_identity", "profile_field", "profile_asset", "profile_merge"),
    *("audit_head", "audit_record", "audit_body"),
)
"""The tables that are distributed by tenant, what is referenced before what refers to it."""

REFERENCE = ("audit_retention",)
"""The tables that every node has."""

LOCAL = ("alembic_version",)
"""The tables that the coordinator alone has."""

ROLES = ("convostore_owner", "convostore_app", "convostore_maintenance", "convostore_search", "convostore_reader")
"""The roles as which nodes connect to each other."""

SETTINGS = {"citus.propagate_set_commands": "local", "citus.override_table_visibility": "off"}
"""What connections of the database need: SET LOCAL reaches the shards, and the driver looks up types quickly."""

DROPPED = {"episode": ("copies_inserted", "copies_updated", "copies_deleted"), "audit_retention": ("is_append_only",)}
"""The triggers that there are no longer: one on a shard cannot write another table, nor is there one where every node
has the table; of `audit_retention` the privileges remain."""

_NODES = (
    "SET citus.enable_unsafe_triggers = 'on'",
    "SET citus.enable_ddl_propagation = 'on'",
    "SET citus.multi_task_query_log_level = 'off'",
)


def _bound(tenant: str, *aliases: str) -> tuple[tuple[str, str], ...]:
    """Return what binds the statements of a function that compare the tenant of these aliases.

    A setting of the function itself, SET LOCAL included, does not reach the shard outside of a transaction block.
    """
    bound = BIND_TENANT.replace("$1::uuid", tenant)
    compared = [f"{alias}.tenant_id = {tenant} AND" for alias in aliases]
    return tuple((f"WHERE {each}", f"WHERE {bound} AND {each}") for each in compared)


_SEARCH_PATH = "SET search_path TO 'pg_catalog'"
_SEQUENTIAL = _SEARCH_PATH + "\n SET \"citus.multi_shard_modify_mode\" TO 'sequential'"
"""Lets one transaction use a table that every node has between changes of several shards."""
_TRIGGERS = "\n SET \"citus.enable_unsafe_triggers\" TO 'on'"

PATCHES = {
    "lock_audit_head": _bound("tenant", "h", "r"),
    "record_audit_item": _bound("of_tenant", "h", "r"),
    # The shard is found by the bare comparison.
    "scored_episodes": (
        ("WHERE (e.tenant_id = $1) IS TRUE AND", "WHERE e.tenant_id = $1 AND"),
        # The coordinator estimates no rows of a shard.
        (
            "EXPLAIN (FORMAT JSON) SELECT FROM",
            "SELECT json_build_array(json_build_object(''Plan'', json_build_object(''Plan Rows'', count(*)))) FROM",
        ),
    ),
    "create_audit_months": ((_SEARCH_PATH, _SEQUENTIAL + _TRIGGERS),),
    "make_append_only": ((_SEARCH_PATH, _SEARCH_PATH + _TRIGGERS),),
    "drop_audit_months": ((_SEARCH_PATH, _SEQUENTIAL),),
}
"""What is replaced in functions of the schema."""

# Rights as well: Citus sends neither what is revoked from PUBLIC nor, with a function by itself, what is granted.
_FUNCTIONS = """
SELECT p.proname::text AS name, pg_get_functiondef(p.oid) AS definition, ARRAY(
    SELECT format('REVOKE ALL ON %s %s FROM PUBLIC', k.kind, p.oid::regprocedure)
    WHERE NOT EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a WHERE a.grantee = 0)
    UNION ALL
    SELECT format(
        'GRANT EXECUTE ON %s %s TO %s', k.kind, p.oid::regprocedure, string_agg(a.grantee::regrole::text, ', '))
    FROM aclexplode(p.proacl) AS a WHERE a.grantee NOT IN (0, p.proowner) HAVING count(*) > 0
) AS rights
FROM pg_catalog.pg_proc AS p
CROSS JOIN LATERAL (SELECT CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END) AS k (kind)
WHERE p.pronamespace = 'convostore'::regnamespace AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend AS d JOIN pg_catalog.pg_class AS c
        ON d.refclassid = 'pg_class'::regclass AND c.oid = d.refobjid
        OR d.refclassid = 'pg_type'::regclass AND c.reltype = d.refobjid
    WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
      AND c.relnamespace = p.pronamespace AND c.relname = ANY ($1::text[]))
ORDER BY p.oid
"""
# Citus grants these by itself when it makes the schema on a node, which may have been long before.
_SCHEMA_RIGHTS = """
SELECT format('GRANT %s ON SCHEMA convostore TO %s', a.privilege_type, string_agg(a.grantee::regrole::text, ', '))
FROM pg_catalog.pg_namespace AS n CROSS JOIN LATERAL aclexplode(n.nspacl) AS a
WHERE n.nspname = 'convostore' AND a.grantee NOT IN (0, n.nspowner) GROUP BY a.privilege_type
"""
_TYPE = """
SELECT array_agg(a.attname::text ORDER BY a.attnum) = $2::text[] AND array_agg(a.atttypid ORDER BY a.attnum)
    = ARRAY(SELECT t.kind::regtype::oid FROM unnest($3::text[]) WITH ORDINALITY AS t (kind, n) ORDER BY t.n)
FROM pg_catalog.pg_attribute AS a
WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
"""
# By hash, or on every node; not what Citus has taken into its catalogue as a local table.
_KNOWN = """
SELECT c.relname::text FROM pg_dist_partition AS p JOIN pg_catalog.pg_class AS c ON c.oid = p.logicalrelid
WHERE c.relnamespace = 'convostore'::regnamespace AND (p.partmethod = 'h' OR p.repmodel = 't')
"""
_FOUND = """
SELECT c.relname::text AS table, t.tgname::text AS name
FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
WHERE c.relnamespace = 'convostore'::regnamespace AND NOT t.tgisinternal AND t.tgparentid = 0
"""
# Not shards of the table large_space, which are named large_space_102008 and so on.
_LARGE_SPACES = r"""
SELECT c.relname::text FROM pg_catalog.pg_class AS c
WHERE c.relnamespace = 'convostore'::regnamespace AND c.relkind = 'r' AND c.relname ~ '^large_space_[0-9a-f]{32}_\d+$'
"""


async def complete(connection: Any) -> list[str]:
    """Distribute the tables that are not yet, and prepare what differs; return these tables.

    Args:
        connection: of a superuser.

    Raises:
        StoreError: rows of a table would not arrive as they are; it has not changed.
    """
    left: dict[str, str] = {}
    if await connection.fetchval("SELECT to_regclass('pg_dist_partition') IS NOT NULL"):
        for setting in _NODES:
            await connection.execute(setting)
        left = dict(remaining({table for (table,) in await connection.fetch(_KNOWN)}))
        await _make_functions(connection, without=(*left, *LOCAL))
        for table, statement in left.items():
            async with connection.transaction():
                if table == "episode":
                    await _drop_large_spaces(connection)
                await distribute_table(connection, table, statement, DROPPED.get(table, ()))
            await connection.execute(f"ANALYZE convostore.{table}")  # shards have no statistics
    await prepare(connection)
    return [*left]


def remaining(known: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield the tables that are not distributed yet, with the statement that distributes each.

    Args:
        known: the tables that are.
    """
    for table in DISTRIBUTED:
        if table not in known:
            with_ = "none" if table == DISTRIBUTED[0] else f"convostore.{DISTRIBUTED[0]}"
            yield (
                table,
                f"SELECT create_distributed_table('convostore.{table}', 'tenant_id', colocate_with => '{with_}')",
            )
    for table in REFERENCE:
        if table not in known:
            yield table, f"SELECT create_reference_table('convostore.{table}')"


async def prepare(connection: Any) -> None:
    """Make functions, types and triggers what they are in a distributed database, the trigger that says so last.

    Args:
        connection: of a superuser. That Citus is there does not matter.
    """
    await _make_functions(connection)
    for declaration in (*AGENT_OWNED, ENTITY, RELATIONSHIP):
        mapping = RowMapping(declaration)
        await _make_type(connection, f"convostore.{declaration.name}_item", mapping.types)
    # On distributed tables, neither IF EXISTS nor OR REPLACE.
    found = {(row["table"], row["name"]) for row in await connection.fetch(_FOUND)}
    for table, names in DROPPED.items():
        for name in names:
            if (table, name) in found:
                await connection.execute(f"DROP TRIGGER {name} ON convostore.{table}")
    for table in (*(each for each in DISTRIBUTED if each != "session"), "session"):
        if (table, "binds_inserted") not in found:
            await connection.execute(
                f"CREATE TRIGGER binds_inserted BEFORE INSERT ON convostore.{table} "
                "FOR EACH ROW EXECUTE FUNCTION convostore.bind_inserted()"
            )


async def _make_functions(connection: Any, *, without: Iterable[str] = ()) -> None:
    """Replace what differs in functions, and make all of them again, with the rights to them and to the schema.

    Args:
        connection: of a superuser.
        without: leave out what depends on these tables: no node has them.

    Raises:
        StoreError: a function has nothing of what is replaced in it: another release's.
    """
    text = files("convostore.postgres").joinpath("distribution.sql").read_text("utf-8")
    for statement in statements(text):
        await connection.execute(statement)
    for name, definition, rights in await connection.fetch(_FUNCTIONS, [*without]):
        for statement in (_patched(name, definition), *rights):
            await connection.execute(statement)
    for (statement,) in await connection.fetch(_SCHEMA_RIGHTS):
        await connection.execute(statement)


def _patched(name: str, definition: str) -> str:
    """Return the definition of a function with what differs, if it was not replaced before.

    Raises:
        StoreError: there is nothing to replace.
    """
    for old, new in PATCHES.get(name, ()):
        # What was replaced before is first put back: `old` may be a part of `new`, and `new` stand elsewhere, too.
        definition = definition.replace(new, old).replace(old, new)
        if new not in definition:
            raise StoreError(f"convostore.{name} is not that of this release")
    return definition


async def _make_type(connection: Any, name: str, types: Mapping[str, str]) -> None:
    """Create the type of a row within a row, anew if it has other columns."""
    if not await connection.fetchval(_TYPE, name, [*types], [*types.values()]):
        await connection.execute(f"DROP TYPE IF EXISTS {name}")
        columns = ", ".join(f"{quoted(column)} {kind}" for column, kind in types.items())
        await connection.execute(f"CREATE TYPE {name} AS ({columns})")
        await connection.execute(f"ALTER TYPE {name} OWNER TO convostore_owner")


async def _drop_large_spaces(connection: Any) -> None:
    """Drop the tables of large spaces, which are searched exactly from then on."""
    for (name,) in await connection.fetch(_LARGE_SPACES):
        await connection.execute(f"DROP TABLE convostore.{name}")
    await connection.execute("DELETE FROM convostore.large_space")
