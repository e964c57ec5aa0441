"""Every statement keeps the rules of Citus in the form that it has there; so do migrations and functions.

What has no such form is in `ELSEWHERE`, with what is sent instead. That it is not sent is seen by the contract suites
in `test_distributed_form`, which check every statement that they send.
"""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from convostore.embedded import Embedded
from convostore.errors import ValidationError
from convostore.postgres import migrate
from convostore.postgres.distributing import distribute
from convostore.postgres.distribution import (
    DISTRIBUTED,
    LOCAL,
    REFERENCE,
    ROLES,
    complete,
    remaining,
)
from convostore.postgres.migrations.propagation import BEFORE_DISTRIBUTION
from convostore.postgres.migrations.scripts import load, statements
from convostore.postgres.reindexing import reindex
from convostore.postgres.tenancy import asked, distributed
from tests.postgres.catalogue import catalogue
from tests.postgres.citus_rules import OTHER_ROLE, RULES, broken, ddl
from tests.postgres.databases import connected, fresh_database
from tests.postgres.test_plans import STATEMENTS

ELSEWHERE = {
    "profile.apply_profile_change": "a statement for each kind of row, in a transaction (profile_steps)",
    "profile.set_new_fields": "the same",
    "profile.set_new_field": "the same",
    "session.load_or_create": "open_session, then insert and claim_identity in a transaction",
    "session.delete_session_of_tenant": "session.delete, and invalidate_copies, in a transaction",
    "spaces.add_embeddings": "lock_embedded and store_embeddings, in a transaction",
    "save_all": "check_all and a save of each, in a transaction",
    "invalidating": "save_new or save_next, and invalidate_copies, in a transaction",
    "gathered": "each call by itself; so is what is pipelined otherwise",
    "by holder": "refused: session ids are unique per tenant alone",
}
"""The statements that Citus would refuse, and what is sent instead."""

BY_HOLDER = {
    f"session.{name}"
    for name in ("get_session", "get_session_and_generation", "delete_session", "acquire_lock", "release_lock")
}

BROKEN = {
    "one_statement": "SELECT 1; SELECT 2",
    "conflict_action": "INSERT INTO convostore.agent (tenant_id, id) VALUES ($1, $2) "
    "ON CONFLICT (tenant_id, id) DO UPDATE SET updated_at = now()",
    "inserted_tenant": "INSERT INTO convostore.agent (tenant_id, id) VALUES ($2, $1)",
    "insert_source": "INSERT INTO convostore.agent (tenant_id, id) SELECT $1, $2 RETURNING id",
    "parameters_behind": "INSERT INTO convostore.agent AS t (tenant_id, id) "
    "SELECT $1, n.id FROM unnest($2::uuid[]) AS n (id) "
    "ON CONFLICT (tenant_id, id) DO UPDATE SET id = excluded.id WHERE t.id = $3 RETURNING t.id",
    "insert_in_cte": "WITH a AS (INSERT INTO convostore.agent (tenant_id, id) VALUES ($1, $2) RETURNING id) TABLE a",
    "volatile": "UPDATE convostore.agent AS t SET updated_at = clock_timestamp() WHERE t.tenant_id = $1",
    "clocks": "UPDATE convostore.agent AS t SET name = CASE WHEN now() > t.updated_at THEN 'a' END "
    "WHERE t.tenant_id = $1",
    "returning": "DELETE FROM convostore.agent AS t WHERE t.tenant_id = $1 RETURNING now()",
    "anonymous_rows": "SELECT ROW(t.id) FROM convostore.agent AS t WHERE t.tenant_id = $1",
    "compared_subqueries": "SELECT 1 WHERE (1, 2) = (SELECT 1, 2)",
    "unsupported": "UPDATE convostore.agent AS t SET tenant_id = $2 WHERE t.tenant_id = $1",
    "functions": "SELECT t.id, convostore.session_tenant(t.id) FROM convostore.agent AS t WHERE t.tenant_id = $1",
    "one_tenant": "SELECT t.id FROM convostore.agent AS t JOIN convostore.rule AS r ON r.agent_id = t.id "
    "WHERE t.tenant_id = $1",
}
"""For each rule a statement that breaks it, and no other."""

FURTHER = (
    "INSERT INTO convostore.agent (tenant_id, id) VALUES ($1, (SELECT $2)) ",
    "WITH a AS (DELETE FROM convostore.rule AS r WHERE r.tenant_id = $1 RETURNING r.id) "
    "INSERT INTO convostore.agent (tenant_id, id) SELECT $1, a.id FROM a RETURNING id",
    "INSERT INTO convostore.agent (tenant_id, id) SELECT $1, n.id FROM unnest($2::uuid[]) AS n (id) RETURNING id, $3",
    "SELECT NULL::record",
    "INSERT INTO convostore.agent (tenant_id, id) SELECT a.tenant_id, $1 FROM unnest($2::uuid[]) AS a (tenant_id) "
    "RETURNING id",
    "SELECT t.id FROM convostore.agent AS t WHERE t.tenant_id = $1 "
    "AND EXISTS (SELECT FROM convostore.rule AS r WHERE r.tenant_id = $2)",
    "SELECT t.id FROM convostore.agent AS t WHERE t.tenant_id = $1 OR true",
    "SELECT pg_advisory_xact_lock(1)",
    "MERGE INTO a USING b ON a.i = b.i WHEN MATCHED THEN DELETE",
    "WITH RECURSIVE a AS (SELECT 1 AS i UNION ALL SELECT i FROM a) CYCLE i SET c USING p SELECT 1",
)
"""Further ways to break one."""

BROKEN_DDL = (
    "ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES c (b) ON DELETE SET NULL",
    "ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES c (b) ON UPDATE CASCADE",
    "CREATE TABLE convostore.a (tenant_id uuid, b uuid UNIQUE)",
    "CREATE TABLE convostore.a (tenant_id uuid, b uuid, PRIMARY KEY (b))",
    "CREATE UNIQUE INDEX a ON convostore.b (c)",
    "CREATE TABLE convostore.a (tenant_id uuid, b serial)",
    "CREATE POLICY a ON b USING (c = (SELECT 1))",
    "ALTER TABLE a ADD COLUMN b integer CHECK (b > 0)",
    "CREATE FUNCTION convostore.a(b uuid) RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM convostore.agent'",
    "CREATE RULE a AS ON INSERT TO b DO NOTHING",
    "DROP INDEX a, b",
    "SET LOCAL ROLE convostore_search",
    "RESET ROLE",
    "CREATE FUNCTION a() RETURNS void LANGUAGE plpgsql SET role = b AS 'BEGIN END'",
)


def elsewhere(name: str) -> str | None:
    """Return what of `ELSEWHERE` a statement is."""
    if name in BY_HOLDER:
        return "by holder"
    if name.startswith("gathered "):
        return "gathered"
    return "save_all" if name.endswith(".save_all") else name if name in ELSEWHERE else None


@pytest.mark.parametrize("name", [name for name in STATEMENTS if not name.startswith("pipelined ")])
def test_a_statement_keeps_the_rules_in_its_form(name: str) -> None:
    for number, text in enumerate(STATEMENTS[name]):
        kind = "invalidating" if number and name in ("session.save_new", "session.save_next") else elsewhere(name)
        split = asked(text)
        sent = [distributed(text)] if split is None else [split.call, distributed(split.statement)]
        found = [each for statement in sent for each in broken(statement)]
        assert bool(found) == (kind is not None), f"{kind}: {found}"


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_can_fail(rule: str) -> None:
    assert {found.partition(":")[0] for found in broken(BROKEN[rule])} == {rule}


@pytest.mark.parametrize("statement", FURTHER)
def test_a_rule_fails_in_every_way(statement: str) -> None:
    assert len(broken(statement)) == 1


@pytest.mark.parametrize("statement", BROKEN_DDL)
def test_a_rule_of_schemas_can_fail(statement: str) -> None:
    assert len(ddl(statement)) == 1


def test_the_schema_keeps_the_rules_but_for_what_the_distribution_replaces() -> None:
    text = files("convostore.postgres").joinpath("distribution.sql").read_text("utf-8")
    replaced = set(re.findall(r"FUNCTION convostore\.(\w+)", text))
    assert [each for statement in statements(text) for each in ddl(statement)] == []
    found = {each for migration in load() for statement in migration.up for each in ddl(statement)}
    functions = {each for each in found if each.endswith("in SQL asks tables")}
    assert {each.partition(":")[0] for each in functions} - replaced == NOT_CALLED
    assert found - functions == {"session_session_id_key: unique without tenant_id", OTHER_ROLE}


def test_migrations_of_distributed_tables_keep_the_rules_in_both_directions() -> None:
    later = [text for each in load() if each.version > BEFORE_DISTRIBUTION for text in (*each.up, *each.down)]
    assert {each for text in later for each in ddl(text)} == {
        f"{name}: in SQL asks tables" for name in ("tenants_with_stale_fields", "profiles_with_field")
    }


NOT_CALLED = {
    *("session_tenant", "profile_document", "matching_episodes"),
    *("vector_spaces", "vector_spaces_above", "large_spaces", "audit_body_dropped"),
}
"""Functions in SQL that ask tables, and that nothing calls where tables are distributed."""


async def test_every_table_is_distributed_or_on_every_node_or_local(engines: Embedded) -> None:
    async with connected(engines.postgres_dsn) as connection:
        tables = await connection.fetch(
            "SELECT relname FROM pg_class WHERE relnamespace = 'convostore'::regnamespace "
            "AND relkind IN ('r', 'p') AND NOT relispartition AND NOT starts_with(relname, 'large_space_')"
        )
        parents = await connection.fetch(
            "SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint "
            "WHERE contype = 'f' AND connamespace = 'convostore'::regnamespace AND conparentid = 0"
        )
    assert sorted(name for (name,) in tables) == sorted((*DISTRIBUTED, *REFERENCE, *LOCAL))
    place = {f"convostore.{name}": number for number, name in enumerate(DISTRIBUTED)}
    assert all(place[parent] <= place[child] for child, parent in parents), "what is referenced comes first"


def test_what_is_distributed_is_not_distributed_again() -> None:
    every = dict(remaining(()))
    assert [*every] == [*DISTRIBUTED, *REFERENCE]
    assert every["agent"].endswith("colocate_with => 'none')")
    assert every["session"] == (
        "SELECT create_distributed_table('convostore.session', 'tenant_id', colocate_with => 'convostore.agent')"
    )
    assert every["audit_retention"] == "SELECT create_reference_table('convostore.audit_retention')"
    half = DISTRIBUTED[:9]
    assert dict(remaining(half)) == {name: every[name] for name in every if name not in half}
    assert [*remaining((*DISTRIBUTED, *REFERENCE))] == []


async def test_without_the_extension_nothing_is_changed(engines: Embedded) -> None:
    async with fresh_database(engines.postgres_dsn) as dsn:
        with pytest.raises(ValidationError, match=r"no extension citus; .* CREATE EXTENSION citus"):
            await distribute(dsn)
        await migrate(dsn)
        async with connected(dsn) as connection:
            before = await catalogue(connection)
            with pytest.raises(ValidationError, match="no extension citus"):
                await distribute(dsn)
            assert await catalogue(connection) == before
            roles = "SELECT count(*) FROM pg_roles WHERE rolname = ANY ($1) AND rolcanlogin"
            assert await connection.fetchval(roles, list(ROLES)) == 0


async def test_what_differs_is_prepared_again_and_after_a_migration(engines: Embedded) -> None:
    async with fresh_database(engines.postgres_dsn) as dsn:
        await migrate(dsn, sessions_by_tenant=True)
        async with connected(dsn) as connection:
            assert await complete(connection) == []
            once = await catalogue(connection)
            assert await complete(connection) == []
            assert await catalogue(connection) == once
        with pytest.raises(ValidationError, match="vectors are searched exactly"):
            await reindex(dsn)
        *_, before, head = (migration.version for migration in load())
        await migrate(dsn, before)
        await migrate(dsn, head)
        async with connected(dsn) as connection:
            assert await catalogue(connection) == once
