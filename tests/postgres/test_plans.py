"""Every statement there is reads filled tables by indexes that start with the tenant, by generic and custom plans."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any
from uuid import UUID

import pytest

from convostore.domain.declarations import DECLARATIONS
from convostore.embedded import Embedded
from convostore.postgres import create_pool, migrate
from convostore.postgres.audit import listing
from convostore.postgres.bulk_statements import BulkStatements
from convostore.postgres.checking import prepare
from convostore.postgres.gathered_statements import gathered, pipelined
from convostore.postgres.profile_steps import STEPS
from convostore.postgres.queries import queries
from convostore.postgres.session_table import SessionStatements
from convostore.postgres.statements import Statements
from convostore.postgres.tenancy import BIND_TENANT
from convostore.postgres.text_reindexing import KINDS, read, stale, write
from tests.postgres.composing import composed_statements
from tests.postgres.databases import connected, fresh_database
from tests.postgres.filled import fill
from tests.postgres.test_audit_plans import SHAPES
from tests.postgres.test_keys import LEADING
from tests.postgres.test_queries import (
    CATALOGUE,
    GENERATED,
    NAMED,
    SEARCH_FILTERS,
    WITHOUT_TABLES,
    generated,
    searches,
)

GATHERED = [
    ("profile", "profile_by_id"),
    *(("session", f"get_session{more}{by}") for more in ("", "_and_generation") for by in ("", "_of_tenant")),
]
"""The named queries of which concurrent calls become one."""

PIPELINED = [("audit", "record"), ("profile", "set_new_field")]
"""Those of which concurrent calls are pipelined."""

ROWS, TENANTS = 3, 600
"""How many rows a tenant has of each kind, and how many tenants there are."""

STATEMENTS: dict[str, list[str]] = {
    **{
        f"{file}.{name}": [getattr(queries(file), name).sql]
        for file, name in NAMED
        if (file, name) not in WITHOUT_TABLES | CATALOGUE
    },
    **{
        f"{entity}.{statement}": generated(entity, statement)
        for entity, statement in GENERATED
        if (entity, statement) != ("scenario_archive", "delete")  # which nobody may
    },
    **{f"gathered {each.name}": [gathered(text)] for each in DECLARATIONS for text in generated(each.name, "get")},
    **{f"gathered {name}": [gathered(getattr(queries(file), name).sql)] for file, name in GATHERED},
    **{
        f"pipelined {entity}.{statement}": [pipelined(text) for text in generated(entity, statement)]
        for entity, statement in GENERATED
        if statement in ("insert", "insert_few", "save_new", "save_next")
    },
    **{f"pipelined {name}": [pipelined(getattr(queries(file), name).sql)] for file, name in PIPELINED},
    **{f"step {number} of a profile": [step] for number, step in enumerate(STEPS)},
    **{f"{kind}.reindex_text": [read(each), write(each), stale(each)] for kind, each in KINDS.items()},
    **{f"{entity} by {' '.join(filters)}": list(searches(entity, filters)) for entity, filters in SEARCH_FILTERS},
    **{
        f"{kind} by {' '.join(shape)}": [listing(kind, shape, after=after) for after in (False, True)]
        for kind in ("turn", "event")
        for shape in (SHAPES if kind == "event" else SHAPES[:3])
    },
}

WRITERS = {
    "audit.py",
    "bulk_statements.py",
    "composition.py",
    "distribution.py",
    "hybrid.py",
    "large_spaces.py",
    "loading.py",
    "profile_columns.py",
    "profile_steps.py",
    "purging.py",
    "reindexing.py",
    "session_table.py",
    "statements.py",
    "tenancy.py",
    "text_reindexing.py",
    "units.py",
    "vector_statements.py",
}
"""Besides `store.py`, which asks for the version of the schema."""
"""The modules that write SQL of their own; what is not in `STATEMENTS` is an administrator's."""

TABLES = """
SELECT c.oid::regclass::text AS table,
       array_agg(quote_ident(a.attname) ORDER BY a.attnum) AS columns,
       array_agg(quote_ident(a.attname)) FILTER (WHERE a.atttypid = 'uuid'::regtype) AS ids
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND a.attgenerated = ''
WHERE c.relnamespace = 'convostore'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
GROUP BY c.oid HAVING 'tenant_id' = ANY (array_agg(a.attname))
"""

EMPTY = (
    "SELECT relname FROM pg_class WHERE relnamespace = 'convostore'::regnamespace AND relkind = 'r' AND reltuples < $1"
)

ACROSS = "session_session_id_key"
"""The one index across tenants that statements may use: it leads to one row, whose tenant is compared."""

POLICY = "tenant_id = (NULLIF(current_setting("
"""How a condition begins that row-level security adds."""

VALUES = {
    "bigint": "1",
    "boolean": "true",
    "bytea": "'x'",
    "double precision": "0.5",
    "integer": "1",
    "interval": "'1 s'",
    "json": "'[]'",
    "jsonb": "'{}'",
    "smallint": "3",
    "text": "'a'",
    "timestamp with time zone": "now()",
    "uuid": "md5('1')::uuid",
    "vector": "'[1,2,3]'",
}
"""A value of each type that parameters have; the ids are those of a tenant."""

OTHERWISE = {
    ("convostore.agent", "name"): "t.name || t.id || copy.number",
    ("convostore.audit_record", "sequence"): "t.sequence + ascii(t.tenant_id::text)",
    ("convostore.channel_identity", "channel_user_id"): "t.channel_user_id || t.profile_id || copy.number",
}
"""What must differ between the rows of a tenant beside ids: what a copy has instead of a column."""


READ_OTHERWISE = [
    f"SELECT 1 FROM convostore.rule AS t WHERE {BIND_TENANT} AND t.agent_id = $2::uuid",
    f"SELECT 1 FROM convostore.session AS t WHERE {BIND_TENANT} AND t.session_id = $2::uuid",
    f"INSERT INTO convostore.session AS t (tenant_id, session_id) SELECT $1, $2::uuid WHERE {BIND_TENANT} "
    "ON CONFLICT (session_id) DO NOTHING",
]


def value_of(kind: str) -> str:
    """Return a value of a type as SQL writes it."""
    return f"ARRAY[{VALUES[kind[:-2]]}]::{kind}" if kind.endswith("[]") else VALUES[kind]


async def multiply(
    admin: Any, tenants: list[UUID], others: range = range(1, TENANTS + 1), *, into: UUID | None = None
) -> None:
    """Give all that some tenants have to each of many others, by their numbers, or as often to one. All ids differ."""
    for table, columns, ids in await admin.fetch(TABLES):
        if into is not None and "audit" in table:
            continue  # A body of a trail names what it is of, and none can be removed.
        values = {column: OTHERWISE.get((table, column), f"t.{column}") for column in columns}
        values |= {column: f"md5(t.{column}::text || copy.number)::uuid" for column in ids}
        values["tenant_id"] = "coalesce($2, md5(copy.number::text)::uuid)"
        await admin.execute(
            f"INSERT INTO {table} ({', '.join(values)}) SELECT {', '.join(values.values())} "
            f"FROM generate_series({others.start}, {others.stop - 1}) AS copy (number), {table} AS t "
            "WHERE t.tenant_id = ANY ($1) ON CONFLICT DO NOTHING",
            tenants,
            into,
        )
    await admin.execute("VACUUM ANALYZE")


async def plan(connection: Any, statement: str) -> dict[str, Any]:
    """Return the plan of a statement for one value of each type."""
    await connection.execute(f"PREPARE planned AS {statement}")
    try:
        types = await connection.fetchval(
            "SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = 'planned'"
        )
        values = ", ".join(map(value_of, types))
        found = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE planned{f'({values})' if types else ''}")
    finally:
        await connection.execute("DEALLOCATE planned")
    top: dict[str, Any] = json.loads(found)[0]["Plan"]
    return top


def faults(node: dict[str, Any], empty: set[str], prefixed: set[str]) -> Iterator[str]:
    """Yield where a plan reads, or looks for conflicts, other than in the tenant's part of an index."""
    if node.get("One-Time Filter") == "false":
        return  # It is never begun.
    kind, table, index = node["Node Type"], node.get("Relation Name"), node.get("Index Name")
    if kind == "Seq Scan" and table not in empty:
        yield f"{kind} on {table}"
    if index is not None:
        # What row-level security compares is no condition of the statement's.
        compared = node.get("Filter" if index == ACROSS else "Index Cond", "").replace(POLICY, "")
        if index not in {*prefixed, ACROSS} or "tenant_id = " not in compared:
            yield f"{kind} using {index} ({compared})"
    yield from (f"conflicts by {name}" for name in {*node.get("Conflict Arbiter Indexes", [])} - prefixed)
    for inner in node.get("Plans", []):
        yield from faults(inner, empty, prefixed)


@pytest.mark.slow
async def test_every_statement_reads_by_indexes_that_start_with_the_tenant(server: Embedded) -> None:
    found: dict[str, list[str]] = {}
    async with fresh_database(server.postgres_dsn) as dsn:
        await migrate(dsn)
        async with await create_pool(dsn, max_size=1) as pool:
            tenants = [await fill(pool) for _ in range(ROWS)]
            async with connected(dsn, session_replication_role="replica") as admin:
                await multiply(admin, tenants)
                prefixed = {row["index"] for row in await admin.fetch(LEADING, []) if row["leading"] == "tenant_id"}
                empty = {name for (name,) in await admin.fetch(EMPTY, TENANTS)}
            statements = STATEMENTS | await composed_statements(pool)
            async with pool.acquire() as connection:
                await prepare(connection)
                for mode in ("force_generic_plan", "force_custom_plan"):
                    await connection.execute(f"SET plan_cache_mode = {mode}")
                    for name, texts in statements.items():
                        plans = [await plan(connection, text) for text in texts]
                        found[f"{name}, {mode}"] = [fault for top in plans for fault in faults(top, empty, prefixed)]
                    noticed = [[*faults(await plan(connection, text), empty, prefixed)] for text in READ_OTHERWISE]
                    assert [*map(len, noticed)] == [1] * len(READ_OTHERWISE)
    assert {name: wrong for name, wrong in found.items() if wrong} == {}
    # Months to come, and what belongs to no tenant.
    assert {re.sub(r"_\d.*", "", name) for name in empty} == {"alembic_version", "audit_retention", "audit_body"}


def test_every_module_that_generates_sql_is_tested() -> None:
    package = files("convostore.postgres")
    sources = {file.name: file.read_text("utf-8") for file in package.iterdir() if file.name.endswith(".py")}
    writing = re.compile(r"\b(FROM|INTO|UPDATE) (\{|convostore\.)")
    assert {name for name, text in sources.items() if writing.search(text)} == WRITERS | {"store.py"}
    kinds = BulkStatements, Statements, SessionStatements
    made = {name for kind in kinds for name, method in vars(kind).items() if callable(method)}
    made |= set(re.findall(r"self\.(\w+) = cache\(", sources["bulk_statements.py"] + sources["statements.py"]))
    assert {name for name in made if not name.startswith("_")} == {name for _, name in GENERATED} - {"select_after"}
