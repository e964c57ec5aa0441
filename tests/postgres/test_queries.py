"""Every statement there is: PostgreSQL accepts it, it says what it does, and each table in it is bound to a tenant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from importlib.resources import files
from inspect import signature
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from convostore.domain.codec import bare
from convostore.domain.declaration import Declaration
from convostore.domain.declarations import CONFIG, DECLARATIONS, SESSION
from convostore.postgres.checking import prepare
from convostore.postgres.hybrid import fused
from convostore.postgres.mapping import RowMapping
from convostore.postgres.queries import compiled, queries
from convostore.postgres.session_table import InvalidatingStatements, SessionStatements
from convostore.postgres.statements import EQUAL, NOT_ENDED, SINCE, STARTED, UNTIL, Statements
from convostore.postgres.tenancy import BIND_TENANT, BOUND, MACROS
from convostore.postgres.vector_statements import EPISODES, FIXED, RULES, VectorStatements, numbered
from convostore.postgres.vectors import Search
from tests.postgres.query_blocks import tables, unbound, unnamed

FILES = sorted(file.name.removesuffix(".sql") for file in files("convostore.postgres").joinpath("sql").iterdir())
NAMED = [(file, name) for file in FILES for name in vars(queries(file))]
GENERATED = [
    (declaration.name, statement)
    for declaration in DECLARATIONS
    for statement in (
        "get",
        "select",
        "select_after",
        "select_keys",
        "count",
        "delete",
        "insert",
        "insert_all",
        "insert_few",
        "insert_new",
        "save_new",
        "save_next",
        "save_all",
        "check_all",
        "state",
        "restore",
        "load_or_create",
    )
    if (declaration.revisioned or statement not in ("save_new", "save_next", "save_all", "check_all", "state"))
    and (declaration is not SESSION or statement not in ("save_all", "check_all"))
    and (declaration.soft_delete or statement != "restore")
    and (declaration is SESSION or statement != "load_or_create")
]

BY_ID_ALONE = {
    ("session", name)
    for name in ("get_session", "get_session_and_generation", "delete_session", "acquire_lock", "release_lock")
}
"""The documented exception: calls by session id need no tenant. These learn it first and then are bound to it."""

WITHOUT_TABLES = {
    *(("audit", name) for name in ("create_months", "drop_months")),
    *(("session", name) for name in ("old_sessions", "tenant_of_session")),
    ("overview", "tenants"),
}
"""What concerns all tenants, in reviewed functions."""

TENANT = UUID(int=5)
SEARCHES = {"episode": VectorStatements(EPISODES), "rule": VectorStatements(RULES)}
SEARCH_FILTERS = [
    ("episode", tuple(EPISODES.filters)[:1] + more) for more in ((), *((name,) for name in tuple(EPISODES.filters)[1:]))
]
SEARCH_FILTERS += [("episode", tuple(EPISODES.filters)), ("rule", ("agent_id",)), ("rule", tuple(RULES.filters))]
"""What searches filter by: the agent alone, with any one more, with everything."""

CATALOGUE = {("overview", "login"), ("overview", "sizes"), ("spaces", "tables")}
"""What reads no tenant's rows."""


def searches(entity: str, filters: tuple[str, ...]) -> Iterator[str]:
    """Return the statements of one search: exact with and without the covering index, approximate, with words.

    What a large space's own table has, these tables have too.
    """
    for covered in (True, False):
        exact = SEARCHES[entity].nearest(filters, covered=covered)
        approximate = SEARCHES[entity].approximate(filters, entity, 100, covered=covered)
        yield from (exact, approximate)
        if entity == "episode":
            arguments = (None,) * (FIXED + len(filters))
            for context in (False, True):
                yield fused(Search(exact, arguments, numbered(filters)), context=context)
                counting = Search(approximate, (*arguments, None), numbered(filters), counted=(TENANT,))
                yield fused(counting, context=context)


@cache
def generated(entity: str, statement: str) -> list[str]:
    """Return the statements of one kind for an entity, for all that may be filtered by."""
    declaration = next(declaration for declaration in DECLARATIONS if declaration.name == entity)
    mapping = RowMapping(declaration)
    statements = (SessionStatements if declaration is SESSION else Statements)(declaration, mapping)
    if declaration is SESSION and statement in ("save_new", "save_next"):
        invalidating = InvalidatingStatements(declaration, mapping)
        return [getattr(each, statement)() for each in (statements, invalidating)]
    if statement == "select_after":
        return [statements.select(shape, after=True) for shape in shapes(declaration)]
    make = getattr(statements, statement)
    if statement == "get":
        return [make(tuple((column, EQUAL) for column in declaration.key))]
    if statement == "insert_few":
        return [make(2)]
    if statement in ("select", "count", "delete", "restore"):
        return [make(shape) for shape in shapes(declaration)]
    return [make()]


def shapes(declaration: Declaration[Any]) -> Iterator[tuple[tuple[str, str], ...]]:
    """What rows can be filtered by: nothing, any one column, the key, a span of any time."""
    yield ()
    yield tuple((column, EQUAL) for column in declaration.key)
    for column, kind in RowMapping(declaration).types.items():
        if kind not in ("jsonb", "vector", "text[]", "uuid[]"):
            yield ((column, EQUAL),)
        if bare(declaration.model.model_fields[column].rebuild_annotation()) is datetime:
            yield ((column, SINCE), (column, UNTIL))
            yield ((column, STARTED), (column, NOT_ENDED))


@pytest.mark.parametrize(("file", "name"), NAMED)
async def test_a_named_query_can_be_prepared(pool: asyncpg.Pool[Any], file: str, name: str) -> None:
    statement = getattr(queries(file), name).sql
    assert "{{" not in statement
    async with pool.acquire() as connection:
        await prepare(connection)
        await connection.prepare(statement)


@pytest.mark.parametrize(("entity", "statement"), GENERATED)
async def test_a_generated_statement_can_be_prepared(pool: asyncpg.Pool[Any], entity: str, statement: str) -> None:
    async with pool.acquire() as connection:
        for text in generated(entity, statement):
            await connection.prepare(text)


@pytest.mark.parametrize(("entity", "filters"), SEARCH_FILTERS)
async def test_a_search_can_be_prepared(pool: asyncpg.Pool[Any], entity: str, filters: tuple[str, ...]) -> None:
    async with pool.acquire() as connection:
        for text in searches(entity, filters):
            await connection.prepare(text)


@pytest.mark.parametrize(("entity", "filters"), SEARCH_FILTERS)
def test_a_search_binds_every_table_to_the_tenant(entity: str, filters: tuple[str, ...]) -> None:
    for text in searches(entity, filters):
        assert (unbound(text), unnamed(text)) == ([], [])


def test_there_are_statements_to_test() -> None:
    assert len(NAMED) >= 23
    assert len(GENERATED) >= 120


@pytest.mark.parametrize("file", FILES)
def test_every_named_query_has_a_description_of_one_line_and_a_name_of_its_own(file: str) -> None:
    text = files("convostore.postgres").joinpath("sql", f"{file}.sql").read_text("utf-8")
    parts = re.split(r"^-- name: ", text, flags=re.MULTILINE)[1:]
    of_tenant = [name for name in vars(queries(file)) if name.endswith("_of_tenant")]
    assert len(parts) == len(vars(queries(file))) - len(of_tenant) > 0
    for part in parts:
        name, description, first = part.split("\n")[:3]
        assert re.fullmatch(r"[a-z_]+", name)
        assert re.fullmatch(r"-- [A-Z].{10,117}\.", description), name
        assert not first.startswith("--"), name
        assert re.match(r"[A-Z]", first), name


def test_every_named_query_is_used_and_no_other_is_asked_for() -> None:
    package = files("convostore.postgres")
    sources = "".join(file.read_text("utf-8") for file in package.iterdir() if file.name.endswith(".py"))
    used = set(re.findall(r"queries\([\"'](\w+)[\"']\)\.(\w+)", sources))
    by_id = re.findall(r"_by_id\([\"'](\w+)[\"']", sources)
    used |= {("session", f"{name}{ending}") for name in by_id for ending in ("", "_of_tenant")}
    assert used == set(NAMED)


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_named_query_binds_every_table_to_the_tenant(file: str, name: str) -> None:
    query = getattr(queries(file), name)
    statement = query.sql
    if (file, name) in CATALOGUE:
        assert [*tables(statement)] == []
    elif (file, name) in WITHOUT_TABLES:
        assert re.fullmatch(r"SELECT [^()]*convostore\.\w+\([^()]*\)", statement)
    elif (file, name) in BY_ID_ALONE:
        assert (unbound(statement), unnamed(statement, "<holder>")) == ([], [])
        assert compiled(MACROS["bound to holder"])[0] in statement
    else:
        tenant = f"${[*signature(query).parameters].index('tenant_id') + 1}"
        assert (unbound(statement), unnamed(statement, tenant)) == ([], [])
        assert any(binding.replace("$1", tenant) in statement for binding in (BIND_TENANT, BOUND))


@pytest.mark.parametrize(("entity", "statement"), GENERATED)
def test_a_generated_statement_binds_its_table_to_the_tenant(entity: str, statement: str) -> None:
    for text in generated(entity, statement):
        assert (unbound(text), unnamed(text)) == ([], [])
        assert BIND_TENANT in text or BOUND in text


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 FROM convostore.rule AS r WHERE r.id = $1",
        "SELECT 1 FROM convostore.rule AS r JOIN convostore.agent AS a ON a.id = r.agent_id WHERE r.tenant_id = $1",
        "SELECT 1 FROM convostore.rule AS t WHERE t.tenant_id = $1 AND EXISTS (SELECT FROM convostore.agent AS t)",
        "SELECT 1 FROM convostore.rule AS t WHERE t.tenant_id = $1 UNION SELECT 1 FROM convostore.agent AS t",
        "INSERT INTO convostore.rule SELECT 1 ON CONFLICT (id) DO NOTHING",
    ],
)
def test_a_statement_that_forgets_the_tenant_would_be_noticed(statement: str) -> None:
    assert unnamed(statement) != []


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 FROM convostore.rule AS t WHERE t.tenant_id = $1",
        f"SELECT 1 FROM convostore.rule AS t WHERE {BIND_TENANT} AND EXISTS (SELECT FROM convostore.agent AS a)",
        f"SELECT 1 FROM convostore.rule AS t WHERE {BIND_TENANT} UNION SELECT 1 FROM convostore.agent AS a",
        f"WITH {BOUND} DELETE FROM convostore.rule AS t WHERE t.id IN (SELECT 1 WHERE (TABLE bound))",
        "SELECT 1 FROM convostore.scored_episodes($1, $2)",
        "INSERT INTO convostore.rule SELECT $1, $2",
    ],
)
def test_a_statement_that_does_not_bind_would_be_noticed(statement: str) -> None:
    assert unbound(statement) != []


async def test_a_function_binds_every_table_to_the_tenant(admin: Any) -> None:
    rows = await admin.fetch(
        "SELECT proname, pg_get_functiondef(oid) AS text FROM pg_proc "
        "WHERE pronamespace = 'convostore'::regnamespace AND prokind = 'f'"
    )
    loose = {}
    for name, text in rows:
        found = [table for table, alias in tables(text) if not re.search(rf"\b{alias}\.tenant_id = ", text)]
        if found:
            loose[name] = found
    # The exceptions: whose a session is, which are old, who has large spaces, texts or anything, which bodies are gone.
    assert loose == {
        "large_spaces": ["large_space"],
        "text_tenants": ["rule", "episode", "entity"],
        "tenants_with_embeddings": ["episode"] * 4,
        "tenants_to_purge": [*(each.name for each in CONFIG), "profile"],
        "tenants": ["agent", "session", "episode", "profile"],
        "session_tenant": ["session"],
        "old_sessions": ["session"],
        "audit_body_dropped": ["audit_retention"],
        "audit_month_is_made": ["audit_retention"],
    }
