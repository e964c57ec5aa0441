"""Every statement keeps the rules of Citus for functions and parameters, as the database declares them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from convostore.postgres.distribution import DISTRIBUTED
from convostore.postgres.tenancy import BIND_TENANT, BOUND, asked, distributed
from tests.postgres.analysed import Catalogue, analysed, faults, is_evaluated, without_casts
from tests.postgres.citus_rules import STABLE, VOLATILE
from tests.postgres.databases import connected
from tests.postgres.test_citus_rules import elsewhere
from tests.postgres.test_plans import STATEMENTS

_OWN = f"{BIND_TENANT} AND t.tenant_id = $1"

BROKEN = {
    f"UPDATE convostore.agent AS t SET updated_at = clock_timestamp() WHERE {_OWN}": "VOLATILE in SET or WHERE",
    f"DELETE FROM convostore.agent AS t WHERE {_OWN} AND t.updated_at < (SELECT clock_timestamp())": (
        "VOLATILE in SET or WHERE"
    ),
    f"UPDATE convostore.agent AS t SET name = n.n FROM (SELECT random()::text AS n) AS n WHERE {_OWN}": (
        "VOLATILE in UPDATE or DELETE"
    ),
    f"UPDATE convostore.agent AS t SET updated_at = t.updated_at + $2::interval WHERE {_OWN}": (
        "STABLE of a column in SET or WHERE"
    ),
    f"DELETE FROM convostore.agent AS t WHERE {_OWN} AND t.updated_at::text = $2": "STABLE of a column in SET or WHERE",
    f"DELETE FROM convostore.agent AS t WHERE {_OWN} AND convostore.bind(t.id)": "STABLE of a column in SET or WHERE",
    f"UPDATE convostore.agent AS t SET updated_at = coalesce($2, now()) WHERE {_OWN}": (
        "not IMMUTABLE in CASE or COALESCE"
    ),
    f"UPDATE convostore.agent AS t SET name = CASE WHEN {BIND_TENANT} THEN 'a' END WHERE {_OWN}": (
        "not IMMUTABLE in CASE or COALESCE"
    ),
    f"DELETE FROM convostore.agent AS t WHERE {_OWN} RETURNING convostore.in_time($2)": "not IMMUTABLE in RETURNING",
    "INSERT INTO convostore.copy_generation AS t (tenant_id, generation) VALUES ($1, 1) "
    "ON CONFLICT (tenant_id) DO UPDATE SET generation = t.generation WHERE now() > $2": "not IMMUTABLE in ON CONFLICT",
    "INSERT INTO convostore.copy_generation AS t (tenant_id, generation) VALUES ($1, (SELECT 1))": (
        "a subquery in INSERT … VALUES"
    ),
    "WITH a AS (SELECT 1) INSERT INTO convostore.copy_generation (tenant_id, generation) VALUES ($1, 1)": (
        "a CTE of INSERT … VALUES"
    ),
    f"SELECT t.id FROM convostore.agent AS t WHERE {BIND_TENANT}": "t without its tenant",
    f"SELECT t.id FROM convostore.agent AS t JOIN convostore.rule AS r ON r.tenant_id = t.tenant_id WHERE {_OWN}": (
        "r without its tenant"
    ),
    f"SELECT t.id FROM convostore.agent AS t WHERE {_OWN} AND EXISTS (SELECT FROM convostore.rule AS r)": (
        "r without its tenant"
    ),
    f"WITH {BOUND}, a AS (UPDATE convostore.agent AS t SET updated_at = clock_timestamp() WHERE {_OWN}) SELECT 1": (
        "VOLATILE in SET or WHERE"
    ),
    **{
        "INSERT INTO convostore.copy_generation AS t (tenant_id, generation) "
        f"SELECT $1, g FROM unnest($2::bigint[]) AS g {more}": (
            "a parameter behind ON CONFLICT or RETURNING of an INSERT … SELECT"
        )
        for more in (
            "ON CONFLICT (tenant_id) DO UPDATE SET generation = t.generation WHERE t.generation > $3",
            "RETURNING t.generation + $3",
        )
    },
}
"""Statements that Citus refuses, each with why."""

HELD = (
    f"UPDATE convostore.session AS t SET locked_until = now() + $2::interval WHERE {_OWN} AND t.locked_until < now()",
    "INSERT INTO convostore.copy_generation AS t (tenant_id, generation) VALUES ($1, 1) "
    "ON CONFLICT (tenant_id) DO UPDATE SET generation = $2 WHERE t.generation > $3 RETURNING t.generation + $4",
    "INSERT INTO convostore.copy_generation AS t (tenant_id, generation) SELECT a.tenant_id, 1 "
    "FROM convostore.agent AS a WHERE a.tenant_id = $1 ON CONFLICT (tenant_id) DO UPDATE SET generation = $2",
)
"""Statements beside these that it takes."""

UNTYPED = (
    f"SELECT t.id FROM convostore.entity AS t WHERE {_OWN} "
    "AND ($2::vector IS NULL OR convostore.similarity(t.embedding, $2) > 0)",
    f"SELECT t.id FROM convostore.entity AS t, unnest((SELECT $2::vector[])) AS g WHERE {_OWN}",
)
"""Statements that do not tell a shard the type of a parameter."""


@pytest.fixture(scope="module")
async def connection(prepared: str) -> AsyncIterator[Any]:
    """A connection of a superuser."""
    async with connected(prepared) as administrator:
        yield administrator


@pytest.fixture(scope="module")
async def catalogue(connection: Any) -> Catalogue:
    return await Catalogue.of(connection, list(DISTRIBUTED))


_CHECKED = re.compile(r"\b(INSERT|UPDATE|DELETE|JOIN)\b")
"""Of the others `citus_rules` says all."""


def sent() -> Iterator[tuple[str, str]]:
    """Yield every statement that is sent where tables are distributed, with its name."""
    for name, texts in STATEMENTS.items():
        if name.startswith("pipelined ") or elsewhere(name) is not None:
            continue
        for number, text in enumerate(texts):
            if number and name in ("session.save_new", "session.save_next"):
                continue
            split = asked(text)
            yield name, distributed(text if split is None else split.statement)


async def untyped(connection: Any, statement: str) -> bool:
    """Return whether a shard would not know the type of a parameter."""
    query, types = await analysed(connection, statement)
    if is_evaluated(query) or (alone := without_casts(statement)) == statement:
        return False
    try:
        _, found = await analysed(connection, alone)
    except asyncpg.PostgresError:
        return True
    return found != types


@pytest.mark.parametrize(("names", "volatility"), [(STABLE, "s"), (VOLATILE, "v")])
async def test_the_rules_on_names_know_the_volatility(connection: Any, names: set[str], volatility: str) -> None:
    found = await connection.fetch(
        "SELECT proname FROM pg_proc WHERE proname = ANY ($1) AND provolatile::text <> $2", [*names], volatility
    )
    assert found == []


@pytest.mark.slow
async def test_every_statement_keeps_the_rules(connection: Any, catalogue: Catalogue) -> None:
    found = {}
    for name, statement in sent():
        if not _CHECKED.search(statement) and without_casts(statement) == statement:
            continue
        query, _ = await analysed(connection, statement)
        wrong = [*faults(query, catalogue), *["a parameter without a type"] * await untyped(connection, statement)]
        if wrong:
            found[name] = wrong
    assert found == {}


@pytest.mark.parametrize(("statement", "why"), BROKEN.items())
async def test_a_rule_can_fail(connection: Any, catalogue: Catalogue, statement: str, why: str) -> None:
    query, _ = await analysed(connection, statement)
    assert why in faults(query, catalogue)


@pytest.mark.parametrize("statement", HELD)
async def test_a_rule_can_hold(connection: Any, catalogue: Catalogue, statement: str) -> None:
    query, _ = await analysed(connection, statement)
    assert [*faults(query, catalogue)] == []


@pytest.mark.parametrize("statement", UNTYPED)
async def test_a_parameter_can_lack_a_type(connection: Any, statement: str) -> None:
    assert await untyped(connection, statement)
