"""Every statement there is reads by an index that begins with the tenant: its generic plan on filled tables."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from convostore.embedded import Embedded
from convostore.postgres import create_pool, migrate
from convostore.postgres.pool import APPLICATION_ROLE, prepare
from convostore.postgres.queries import queries
from tests.postgres.databases import connected, fresh_database
from tests.postgres.filled import fill
from tests.postgres.test_queries import (
    BY_ID_ALONE,
    CATALOGUE,
    FOR_ALL_TENANTS,
    GENERATED,
    NAMED,
    SEARCH_FILTERS,
    generated,
    searches,
)

WITHOUT_TENANT = {"audit_retention"}
"""Months that were dropped: they are the same for every tenant."""

NOT_IN_USE = {("scenario_archive", "delete"), ("session", "select_after")}
"""Archives are never deleted, which the application may not do, and no method streams sessions."""

NO_ROWS = CATALOGUE | {("audit", "drop_months")}
"""What reads no tenant's rows."""


@pytest.fixture(scope="module")
async def filled(server: Embedded) -> AsyncIterator[Any]:
    """A connection to a database with rows of three tenants in every table."""
    async with fresh_database(server.postgres_dsn) as dsn:
        await migrate(dsn)
        async with await create_pool(dsn) as pool:
            for _ in range(3):
                await fill(pool)
        # A table of one page is read as a whole unless that is forbidden.
        settings = {"enable_seqscan": "off", "plan_cache_mode": "force_generic_plan", "jit": "off"}
        async with connected(dsn, **settings) as connection:
            await connection.execute("ANALYZE")
            await connection.execute(f"SET ROLE {APPLICATION_ROLE}")
            await prepare(connection)
            yield connection


async def first_columns(connection: Any) -> dict[str, str]:
    """Return the first column of each index of the schema."""
    rows = await connection.fetch(
        "SELECT c.relname, a.attname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid "
        "JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] "
        "WHERE c.relnamespace = 'convostore'::regnamespace"
    )
    return dict(rows)


async def plan_of(connection: Any, statement: str) -> dict[str, Any]:
    """Return the plan that serves a statement whatever its parameters are."""
    parameters = (await connection.prepare(statement)).get_parameters()
    values = f"({', '.join(['NULL'] * len(parameters))})" if parameters else ""
    await connection.execute(f"PREPARE looked_at AS {statement}")
    try:
        (plan,) = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE looked_at{values}"))
    finally:
        await connection.execute("DEALLOCATE looked_at")
    found: dict[str, Any] = plan["Plan"]
    return found


def scans(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the nodes of a plan that read a table or an index."""
    if node["Node Type"].endswith("Scan") and ("Relation Name" in node or "Index Name" in node):
        yield node
    for child in node.get("Plans", []):
        yield from scans(child)


async def loose(connection: Any, statement: str) -> list[str]:
    """Return what a statement reads other than by an index that begins with the tenant, bound to it."""
    first, found = await first_columns(connection), []
    for scan in scans(await plan_of(connection, statement)):
        table, index, condition = scan.get("Relation Name"), scan.get("Index Name"), scan.get("Index Cond", "")
        if table in WITHOUT_TENANT or scan["Node Type"] == "Bitmap Heap Scan":
            continue  # the index scans below it are looked at
        if index is None or first.get(index) != "tenant_id" or not re.search(r"\btenant_id = ", condition):
            found.append(f"{scan['Node Type']} {table} {index} {condition}")
    return found


@pytest.mark.parametrize(("file", "name"), [query for query in NAMED if query not in NO_ROWS])
async def test_a_named_query_reads_by_tenant(filled: Any, file: str, name: str) -> None:
    found = await loose(filled, queries(file)[name])
    if (file, name) in BY_ID_ALONE | FOR_ALL_TENANTS:
        # They learn the tenants first: by the session's id, or from what is old.
        assert not [scan for scan in found if "Seq Scan" in scan]
    else:
        assert found == []


@pytest.mark.parametrize(("entity", "statement"), [kind for kind in GENERATED if kind not in NOT_IN_USE])
async def test_a_generated_statement_reads_by_tenant(filled: Any, entity: str, statement: str) -> None:
    for text in generated(entity, statement):
        assert await loose(filled, text) == [], text


@pytest.mark.parametrize(("entity", "filters"), SEARCH_FILTERS)
async def test_a_search_reads_by_tenant(filled: Any, entity: str, filters: tuple[str, ...]) -> None:
    for text in searches(entity, filters):
        assert await loose(filled, text) == [], text


async def test_a_statement_without_its_tenant_would_be_noticed(filled: Any) -> None:
    for text in (
        "SELECT FROM convostore.session AS t WHERE t.session_id = $1::uuid",
        "SELECT FROM convostore.agent AS t WHERE t.name = $1",
    ):
        assert len(await loose(filled, text)) == 1
