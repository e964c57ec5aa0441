"""Distributes the tables of a database by tenant over the nodes of Citus, and prepares what differs there.

Every step looks whether it is done, so an interrupted run is resumed by another. Tables are distributed with what is in
them. What differs in statements is in `tenancy.distributed`; what differs in the database beside its tables is in
`distribution.sql`, and `prepare` runs it, also after a migration that replaced something of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from convostore.domain.declarations import AGENT_OWNED, ENTITY, RELATIONSHIP
from convostore.errors import StoreError
from convostore.postgres.mapping import RowMapping, quoted
from convostore.postgres.migrations.scripts import statements
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

_SEQUENTIAL = "SET LOCAL citus.multi_shard_modify_mode = 'sequential'"
_TRIGGERS = "SET citus.enable_unsafe_triggers = 'on'"


def _bound(tenant: str, *aliases: str) -> tuple[tuple[str, str], ...]:
    """Return what binds the statements of a function that compare the tenant of these aliases.

    A setting of the function itself, SET LOCAL included, does not reach the shard outside of a transaction block.
    """
    bound = BIND_TENANT.replace("$1::uuid", tenant)
    compared = [f"{alias}.tenant_id = {tenant} AND" for alias in aliases]
    return tuple((f"WHERE {each}", f"WHERE {bound} AND {each}") for each in compared)


PATCHES = {
    "lock_audit_head": _bound("tenant", "h", "r"),
    "record_audit_item": _bound("of_tenant", "h", "r"),
    # The shard is found by the bare comparison.
    "scored_episodes": (("WHERE (e.tenant_id = $1) IS TRUE AND", "WHERE e.tenant_id = $1 AND"),),
    "create_audit_months": (
        ("SET search_path TO 'pg_catalog'", "SET search_path TO 'pg_catalog' SET citus.enable_unsafe_triggers TO 'on'"),
    ),
}
"""What is replaced in functions of the schema."""

_FUNCTION = """
SELECT pg_get_functiondef(p.oid) FROM pg_catalog.pg_proc AS p
WHERE p.pronamespace = 'convostore'::regnamespace AND p.proname = $1
"""
_TYPE = """
SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_catalog.pg_attribute AS a
WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
"""
_KNOWN = """
SELECT c.relname::text AS table, p.partmethod::text AS method
FROM pg_dist_partition AS p JOIN pg_catalog.pg_class AS c ON c.oid = p.logicalrelid
WHERE c.relnamespace = 'convostore'::regnamespace
"""


async def complete(connection: Any) -> list[str]:
    """Distribute the tables that are not yet, and prepare what differs; return these tables.

    Args:
        connection: of a superuser.
    """
    done = []
    if await connection.fetchval("SELECT to_regclass('pg_dist_partition') IS NOT NULL"):
        await connection.execute(_TRIGGERS)
        await _drop_large_spaces(connection)
        for table, statement in remaining({row["table"]: row["method"] for row in await connection.fetch(_KNOWN)}):
            await _distribute(connection, table, statement)
            done.append(table)
    await prepare(connection)
    return done


def remaining(known: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the tables that are not distributed yet, with the statement that distributes each.

    Args:
        known: the tables in pg_dist_partition, with their methods.
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
    text = files("convostore.postgres").joinpath("distribution.sql").read_text("utf-8")
    for statement in statements(text):
        await connection.execute(statement)
    for name, replacements in PATCHES.items():
        await _patch(connection, name, replacements)
    for declaration in (*AGENT_OWNED, ENTITY, RELATIONSHIP):
        mapping = RowMapping(declaration)
        await _make_type(connection, f"convostore.{declaration.name}_item", mapping.types)
    for table in (*(each for each in DISTRIBUTED if each != "session"), "session"):
        await connection.execute(
            f"CREATE OR REPLACE TRIGGER binds_inserted BEFORE INSERT ON convostore.{table} "
            "FOR EACH ROW EXECUTE FUNCTION convostore.bind_inserted()"
        )


async def _patch(connection: Any, name: str, replacements: tuple[tuple[str, str], ...]) -> None:
    """Replace what differs in a function, unless it was replaced before.

    Raises:
        StoreError: the function has nothing of it: another release's.
    """
    definition: str = await connection.fetchval(_FUNCTION, name)
    for old, new in replacements:
        if new not in definition:
            if old not in definition:
                raise StoreError(f"convostore.{name} is not that of this release")
            definition = definition.replace(old, new)
    await connection.execute(definition)


async def _make_type(connection: Any, name: str, types: Mapping[str, str]) -> None:
    """Create the type of a row within a row, anew if it has other columns."""
    if await connection.fetchval(_TYPE, name) != [*types]:
        await connection.execute(f"DROP TYPE IF EXISTS {name}")
        columns = ", ".join(f"{quoted(column)} {kind}" for column, kind in types.items())
        await connection.execute(f"CREATE TYPE {name} AS ({columns})")


async def _distribute(connection: Any, table: str, statement: str) -> None:
    """Distribute a table, if all of its rows arrive.

    Raises:
        StoreError: some did not; nothing has changed.
    """
    count = f"SELECT count(*) FROM convostore.{table}"  # noqa: S608
    async with connection.transaction():
        await connection.execute(_SEQUENTIAL)
        await connection.execute(f"LOCK TABLE convostore.{table} IN SHARE ROW EXCLUSIVE MODE")
        before = await connection.fetchval(count)
        await connection.execute(statement)
        if (after := await connection.fetchval(count)) != before:
            raise StoreError(f"convostore.{table} has {before} rows, of which {after} would be distributed")


async def _drop_large_spaces(connection: Any) -> None:
    """Drop the tables of large spaces, which are searched exactly from then on."""
    names = "SELECT relname FROM pg_class WHERE relnamespace = 'convostore'::regnamespace AND relkind = 'r' "
    for (name,) in await connection.fetch(f"{names}AND starts_with(relname, 'large_space_')"):
        await connection.execute(f'DROP TABLE convostore."{name}"')
    await connection.execute("DELETE FROM convostore.large_space")
