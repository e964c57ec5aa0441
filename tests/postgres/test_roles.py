"""The roles: who they are, what they may do, and which of them a store agrees to run as."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from convostore.embedded import Embedded
from convostore.errors import StoreError, ValidationError
from convostore.postgres import PostgresConfigStore, PostgresSessionStore, create_pool
from tests.postgres.databases import connected, fresh_user

ROLES = ["convostore_app", "convostore_maintenance", "convostore_owner", "convostore_reader", "convostore_search"]
APPEND_ONLY = {"scenario_archive"}
READ_ONLY = {"alembic_version", "audit_retention", "audit_record", "audit_head", "audit_body"}

DEFINERS = """
SELECT p.proname, r.rolname AS owner, p.proconfig, has_function_privilege('public', p.oid, 'EXECUTE') AS public,
       has_function_privilege('convostore_app', p.oid, 'EXECUTE') AS app
FROM pg_proc AS p JOIN pg_roles AS r ON r.oid = p.proowner
WHERE p.pronamespace = 'convostore'::regnamespace AND p.prosecdef ORDER BY p.proname
"""


async def test_there_are_five_roles_and_none_of_them_may_log_in_or_pass_row_level_security(admin: Any) -> None:
    rows = await admin.fetch(
        "SELECT rolname, rolsuper OR rolbypassrls OR rolcanlogin OR rolcreaterole OR rolcreatedb OR rolreplication "
        r"AS may FROM pg_roles WHERE rolname LIKE 'convostore\_%' ORDER BY rolname"
    )
    assert [tuple(row) for row in rows] == [(name, False) for name in ROLES]


async def test_no_role_inherits_what_another_may_see(admin: Any) -> None:
    for role in ROLES:
        for other in ROLES:
            if role != other:
                assert not await admin.fetchval("SELECT pg_has_role($1, $2, 'USAGE')", role, other), (role, other)


async def test_the_application_cannot_become_another_role(server: Embedded) -> None:
    async with fresh_user(server.postgres_dsn, "IN ROLE convostore_app") as dsn, connected(dsn) as connection:
        for role in ROLES[1:]:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"SET ROLE {role}")


@pytest.mark.parametrize("role", ["convostore_app", "convostore_maintenance"])
async def test_rows_may_be_written_archives_only_added_and_the_audit_trail_only_read(admin: Any, role: str) -> None:
    tables = await admin.fetch(
        "SELECT relname, relispartition FROM pg_class "
        "WHERE relnamespace = 'convostore'::regnamespace AND relkind IN ('r', 'p')"
    )
    for table, partition in tables:
        granted = {
            privilege
            for privilege in ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
            if await admin.fetchval("SELECT has_table_privilege($1, $2, $3)", role, f'convostore."{table}"', privilege)
        }
        expected = {"SELECT", "INSERT"} | (set() if table in APPEND_ONLY else {"UPDATE", "DELETE"})
        assert granted == (set() if partition else {"SELECT"} if table in READ_ONLY else expected), table


@pytest.mark.parametrize("role", sorted({*ROLES} - {"convostore_owner"}))
async def test_only_the_owner_may_create_things_in_the_schema(admin: Any, role: str) -> None:
    assert not await admin.fetchval("SELECT has_schema_privilege($1, 'convostore', 'CREATE')", role)
    assert await admin.fetchval("SELECT has_schema_privilege($1, 'convostore', 'USAGE')", role)


async def test_the_search_role_may_read_what_is_searched_and_append_to_the_audit_trail(admin: Any) -> None:
    rows = await admin.fetch(
        "SELECT table_name, string_agg(privilege_type, ' ' ORDER BY privilege_type) "
        "FROM information_schema.table_privileges "
        "WHERE table_schema = 'convostore' AND grantee = 'convostore_search' GROUP BY 1 ORDER BY 1"
    )
    assert [tuple(row) for row in rows] == [
        ("agent", "SELECT"),
        ("audit_body", "INSERT SELECT"),
        ("audit_head", "INSERT SELECT UPDATE"),
        ("audit_record", "INSERT SELECT"),
        ("entity", "SELECT"),
        ("episode", "SELECT"),
        ("large_space", "SELECT"),
        ("migration_plan", "SELECT"),
        ("profile", "SELECT"),
        ("profile_field", "SELECT"),
        ("rule", "SELECT"),
        ("scenario", "SELECT"),
        ("session", "SELECT"),
        ("template", "SELECT"),
        ("tool_activation", "SELECT"),
        ("variable", "SELECT"),
    ]


async def test_the_reader_may_read_every_table_and_write_none(admin: Any) -> None:
    tables = await admin.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'convostore'::regnamespace AND relkind IN ('r', 'p') "
        "AND NOT relispartition"
    )
    granted = await admin.fetch(
        "SELECT table_name, string_agg(privilege_type, ' ') FROM information_schema.table_privileges "
        "WHERE table_schema = 'convostore' AND grantee = 'convostore_reader' GROUP BY 1"
    )
    assert {tuple(row) for row in granted} == {(name, "SELECT") for (name,) in tables}


async def test_functions_above_row_level_security_are_these_and_closed_to_the_public(admin: Any) -> None:
    rows = [tuple(row) for row in await admin.fetch(DEFINERS)]
    fixed = ["search_path=pg_catalog"]
    scored = [*fixed, "enable_seqscan=off", "client_min_messages=warning"]
    assert rows == [
        ("create_audit_months", "convostore_owner", fixed, False, True),
        ("drop_audit_months", "convostore_owner", [*fixed, "lock_timeout=500ms"], False, False),
        ("large_spaces", "convostore_search", fixed, False, False),
        ("matching_episodes", "convostore_search", [*fixed, "enable_seqscan=off"], False, True),
        ("named_entities", "convostore_search", [*fixed, "enable_seqscan=off"], False, True),
        ("old_sessions", "convostore_search", fixed, False, True),
        ("profiles_with_field", "convostore_search", fixed, False, True),
        ("record_audit", "convostore_search", fixed, False, True),
        ("record_audit_item", "convostore_search", fixed, False, True),
        ("scored_episodes", "convostore_search", scored, False, True),
        ("session_tenant", "convostore_search", fixed, False, True),
        ("tenants", "convostore_search", fixed, False, False),
        ("tenants_to_purge", "convostore_search", fixed, False, False),
        ("tenants_with_embeddings", "convostore_search", fixed, False, False),
        ("tenants_with_stale_fields", "convostore_search", fixed, False, False),
        ("text_tenants", "convostore_search", fixed, False, False),
        ("vector_spaces", "convostore_search", fixed, False, False),
        ("vector_spaces_above", "convostore_search", [*fixed, "enable_seqscan=off"], False, False),
    ]


async def test_a_pool_of_create_pool_runs_as_the_application_whoever_logs_in(server: Embedded) -> None:
    async with fresh_user(server.postgres_dsn, "IN ROLE convostore_app") as member:
        for dsn in (server.postgres_dsn, member):
            async with await create_pool(dsn) as pool:
                assert await pool.fetchval("SELECT current_user") == "convostore_app"
                assert await PostgresSessionStore(pool).get(uuid4()) is None


async def test_a_store_refuses_a_pool_of_a_superuser(server: Embedded) -> None:
    async with asyncpg.create_pool(server.postgres_dsn, min_size=0) as pool:
        for call in (
            PostgresSessionStore(pool).get(uuid4()),
            PostgresConfigStore(pool).get_agent(uuid4(), uuid4()),
        ):
            with pytest.raises(ValidationError, match=r"row-level security.*convostore_app"):
                await call


async def test_a_store_refuses_a_user_that_may_bypass_row_level_security(server: Embedded) -> None:
    async with fresh_user(server.postgres_dsn, "BYPASSRLS IN ROLE convostore_app") as dsn:
        async with asyncpg.create_pool(dsn, min_size=0) as pool:
            with pytest.raises(ValidationError, match="row-level security"):
                await PostgresSessionStore(pool).get(uuid4())
        async with await create_pool(dsn) as pool:  # switched to the application role, it is bound like everybody
            assert await PostgresSessionStore(pool).get(uuid4()) is None


async def test_a_user_that_is_not_a_member_of_the_application_role_is_refused(server: Embedded) -> None:
    async with fresh_user(server.postgres_dsn, "") as dsn, await create_pool(dsn) as pool:
        with pytest.raises(StoreError) as refused:
            await PostgresSessionStore(pool).get(uuid4())
        assert (refused.value.code, refused.value.retryable) == ("42501", False)
