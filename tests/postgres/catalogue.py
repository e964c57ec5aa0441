"""What the catalogue says of the schema, as plain data to compare."""

from __future__ import annotations

from typing import Any

_SCHEMA = "'convostore'::regnamespace"

_QUERIES = {
    "relations": f"""
        SELECT relname, relkind, relowner::regrole::text, relrowsecurity, relforcerowsecurity, relacl::text, reloptions
        FROM pg_class WHERE relnamespace = {_SCHEMA}""",
    "columns": f"""
        SELECT c.relname, row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum), a.attname,
               format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
               a.attgenerated, a.attcollation::regcollation::text, pg_get_expr(d.adbin, d.adrelid), a.attacl::text
        FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE c.relnamespace = {_SCHEMA} AND c.relkind IN ('r', 'p') AND a.attnum > 0
        AND NOT a.attisdropped""",
    "constraints": f"""
        SELECT conname, conrelid::regclass::text, contype, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = {_SCHEMA}""",
    "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'convostore'",
    "policies": """
        SELECT tablename, policyname, permissive, roles::text, cmd, qual, with_check
        FROM pg_policies WHERE schemaname = 'convostore'""",
    "functions": f"""
        SELECT p.oid::regprocedure::text, p.proowner::regrole::text, p.proacl::text, pg_get_functiondef(p.oid)
        FROM pg_proc AS p WHERE p.pronamespace = {_SCHEMA}""",
    "triggers": f"""
        SELECT t.tgname, t.tgrelid::regclass::text, t.tgenabled, pg_get_triggerdef(t.oid)
        FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid WHERE c.relnamespace = {_SCHEMA}
        AND NOT t.tgisinternal""",
    "types": f"SELECT typname, typtype FROM pg_type WHERE typnamespace = {_SCHEMA}",
    "schemas": "SELECT nspowner::regrole::text, nspacl::text FROM pg_namespace WHERE nspname = 'convostore'",
}

VERSION_TABLE = {
    "relations": {"alembic_version", "alembic_version_pkc"},
    "columns": {"alembic_version"},
    "constraints": {
        "alembic_version_pkc",
        "alembic_version_compatible_not_null",
        "alembic_version_version_num_not_null",
    },
    "indexes": {"alembic_version_pkc"},
    "types": {"alembic_version", "_alembic_version"},
}
"""What is left at version `base`, by the first word of each row: the table in which Alembic keeps the version."""


async def catalogue(connection: Any) -> dict[str, list[tuple[Any, ...]]]:
    """Return what the schema consists of, by kind, sorted."""
    found = {}
    for kind, query in _QUERIES.items():
        found[kind] = sorted((tuple(row) for row in await connection.fetch(query)), key=repr)
    return found
